#pragma once

#include <jni.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "capi/caffe_c.h"

// Helpers of the JNI functions. A failed call leaves a Java exception pending and unwinds by
// PendingException; `guarded` is the only place where that, or any other C++ exception, ends.
namespace caffe::jni {

struct PendingException {};

// References that live as long as the library.
struct Classes {
  JavaVM* vm = nullptr;
  jclass string = nullptr;
  jclass float_array = nullptr;
  jclass object = nullptr;
  jclass illegal_argument = nullptr;
  jclass io = nullptr;
  jclass communication = nullptr;
  jclass cancelled = nullptr;
  jclass internal = nullptr;
  jclass log = nullptr;
  jmethodID log_write = nullptr;
};
Classes& classes();

// A local reference that is deleted at the end of its scope, so that loops do not fill the table.
template <typename T>
class Local {
 public:
  Local(JNIEnv* env, T reference) : env_(env), reference_(reference) {}
  ~Local() {
    if (reference_ != nullptr) {
      env_->DeleteLocalRef(reference_);
    }
  }
  Local(const Local&) = delete;
  Local& operator=(const Local&) = delete;
  T get() const { return reference_; }
  T release() { return std::exchange(reference_, nullptr); }

 private:
  JNIEnv* env_;
  T reference_;
};

// Throws `type` in Java and unwinds to `guarded`.
[[noreturn]] void raise(JNIEnv* env, jclass type, const std::string& message);
// Turns a failed call of the C ABI into the Java exception of its code.
void check(JNIEnv* env, int status);
// Unwinds when a JNI call has left an exception.
void check_pending(JNIEnv* env);

// True UTF-8, unlike JNI's own: file names and record keys may hold any byte. Bytes that are no
// UTF-8 become U+FFFD.
std::string to_utf8(JNIEnv* env, jstring text);
jstring to_java(JNIEnv* env, const char* text, size_t size);
jstring to_java(JNIEnv* env, const std::string& text);

std::string to_bytes(JNIEnv* env, jbyteArray array);
jbyteArray to_java_bytes(JNIEnv* env, const void* bytes, size_t size);
jfloatArray to_java_floats(JNIEnv* env, const float* values, size_t size);
// Takes the list over.
jobjectArray to_java_strings(JNIEnv* env, caffe_strings* strings);

void raise_unexpected(JNIEnv* env, const char* what) noexcept;

// Runs `body`; whatever it throws ends as a Java exception, and the result is then zero.
template <typename Body>
auto guarded(JNIEnv* env, Body body) noexcept -> decltype(body()) {
  using Result = decltype(body());
  try {
    return body();
  } catch (const PendingException&) {
  } catch (const std::exception& error) {
    raise_unexpected(env, error.what());
  } catch (...) {
    raise_unexpected(env, "unknown C++ exception");
  }
  if constexpr (!std::is_void_v<Result>) {
    return Result{};
  }
}

template <typename T>
T* handle(JNIEnv* env, jlong address) {
  if (address == 0) {
    raise(env, classes().illegal_argument, "the object has been closed");
  }
  return reinterpret_cast<T*>(address);
}

template <typename T>
jlong address_of(T* pointer) {
  return reinterpret_cast<jlong>(pointer);
}

}  // namespace caffe::jni

#include "jni_support.h"

#include <limits>
#include <memory>

namespace caffe::jni {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// One code point of possibly broken UTF-8; `at` moves on by at least one byte.
char32_t next_code_point(const unsigned char* text, size_t size, size_t& at) {
  const unsigned char first = text[at++];
  if (first < 0x80) {
    return first;
  }
  const int more = first >= 0xF0 && first < 0xF5   ? 3
                   : first >= 0xE0 && first < 0xF0 ? 2
                   : first >= 0xC2 && first < 0xE0 ? 1
                                                   : 0;
  if (more == 0 || at + more > size) {
    return kReplacement;
  }
  char32_t point = first & (0x3F >> more);
  for (int i = 0; i < more; ++i) {
    if ((text[at + i] & 0xC0) != 0x80) {
      return kReplacement;
    }
    point = point << 6 | (text[at + i] & 0x3F);
  }
  at += more;
  const bool surrogate = point >= 0xD800 && point < 0xE000;
  const bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
  return surrogate || overlong || point > 0x10FFFF ? kReplacement : point;
}

void append_utf8(std::string& out, char32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  static constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | point >> (6 * more));
  for (int i = more - 1; i >= 0; --i) {
    out += static_cast<char>(0x80 | (point >> (6 * i) & 0x3F));
  }
}

jsize length_for_java(JNIEnv* env, size_t size) {
  if (size > static_cast<size_t>(std::numeric_limits<jsize>::max())) {
    raise(env, classes().illegal_argument,
          std::to_string(size) + " elements are more than a Java array can hold (2^31 - 1)");
  }
  return static_cast<jsize>(size);
}

}  // namespace

Classes& classes() {
  static Classes instance;
  return instance;
}

void raise(JNIEnv* env, jclass type, const std::string& message) {
  // The constructor gets a string made by to_java: ThrowNew would read the message as JNI's
  // modified UTF-8.
  const Local<jstring> text(env, to_java(env, message));
  const jmethodID constructor = env->GetMethodID(type, "<init>", "(Ljava/lang/String;)V");
  if (constructor != nullptr) {
    const Local<jobject> exception(env, env->NewObject(type, constructor, text.get()));
    if (exception.get() != nullptr) {
      env->Throw(static_cast<jthrowable>(exception.get()));
    }
  }
  throw PendingException{};
}

void raise_unexpected(JNIEnv* env, const char* what) noexcept {
  if (!env->ExceptionCheck()) {
    env->ThrowNew(classes().internal, what);
  }
}

void check(JNIEnv* env, int status) {
  if (status == CAFFE_OK) {
    return;
  }
  const Classes& known = classes();
  const std::string message = caffe_last_error();
  switch (status) {
    case CAFFE_INVALID_ARGUMENT:
      raise(env, known.illegal_argument, message);
    case CAFFE_IO:
    case CAFFE_DATA:
      raise(env, known.io, message);
    case CAFFE_COMMUNICATION:
      raise(env, known.communication, message);
    case CAFFE_CANCELLED:
      raise(env, known.cancelled, message);
    default:
      raise(env, known.internal, message);
  }
}

void check_pending(JNIEnv* env) {
  if (env->ExceptionCheck()) {
    throw PendingException{};
  }
}

std::string to_utf8(JNIEnv* env, jstring text) {
  if (text == nullptr) {
    raise(env, classes().illegal_argument, "a text is null");
  }
  std::u16string units(env->GetStringLength(text), u'\0');
  env->GetStringRegion(text, 0, static_cast<jsize>(units.size()),
                       reinterpret_cast<jchar*>(units.data()));
  check_pending(env);
  std::string out;
  out.reserve(units.size());
  for (size_t i = 0; i < units.size(); ++i) {
    char32_t point = units[i];
    const bool high = point >= 0xD800 && point < 0xDC00;
    if (high && i + 1 < units.size() && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000) {
      point = 0x10000 + ((point - 0xD800) << 10) + (units[++i] - 0xDC00);
    } else if (point >= 0xD800 && point < 0xE000) {
      point = kReplacement;
    }
    append_utf8(out, point);
  }
  return out;
}

jstring to_java(JNIEnv* env, const char* text, size_t size) {
  std::u16string units;
  units.reserve(size);
  for (size_t at = 0; at < size;) {
    const char32_t point = next_code_point(reinterpret_cast<const unsigned char*>(text), size, at);
    if (point < 0x10000) {
      units += static_cast<char16_t>(point);
    } else {
      units += static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10));
      units += static_cast<char16_t>(0xDC00 + ((point - 0x10000) & 0x3FF));
    }
  }
  const jstring out = env->NewString(reinterpret_cast<const jchar*>(units.data()),
                                     length_for_java(env, units.size()));
  check_pending(env);
  return out;
}

jstring to_java(JNIEnv* env, const std::string& text) {
  return to_java(env, text.data(), text.size());
}

std::string to_bytes(JNIEnv* env, jbyteArray array) {
  if (array == nullptr) {
    raise(env, classes().illegal_argument, "a byte array is null");
  }
  std::string bytes(env->GetArrayLength(array), '\0');
  env->GetByteArrayRegion(array, 0, static_cast<jsize>(bytes.size()),
                          reinterpret_cast<jbyte*>(bytes.data()));
  check_pending(env);
  return bytes;
}

jbyteArray to_java_bytes(JNIEnv* env, const void* bytes, size_t size) {
  const jsize length = length_for_java(env, size);
  const jbyteArray array = env->NewByteArray(length);
  check_pending(env);
  env->SetByteArrayRegion(array, 0, length, static_cast<const jbyte*>(bytes));
  return array;
}

jfloatArray to_java_floats(JNIEnv* env, const float* values, size_t size) {
  const jsize length = length_for_java(env, size);
  const jfloatArray array = env->NewFloatArray(length);
  check_pending(env);
  env->SetFloatArrayRegion(array, 0, length, values);
  return array;
}

jobjectArray to_java_strings(JNIEnv* env, caffe_strings* strings) {
  const std::unique_ptr<caffe_strings, decltype(&caffe_strings_free)> owner(strings,
                                                                            &caffe_strings_free);
  const jsize size = length_for_java(env, caffe_strings_size(strings));
  Local<jobjectArray> array(env, env->NewObjectArray(size, classes().string, nullptr));
  check_pending(env);
  for (jsize i = 0; i < size; ++i) {
    const Local<jstring> item(env, to_java(env, caffe_strings_at(strings, i)));
    env->SetObjectArrayElement(array.get(), i, item.get());
  }
  return array.release();
}

}  // namespace caffe::jni

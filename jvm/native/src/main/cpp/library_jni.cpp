// Loading, log forwarding and messages.
#include <memory>

#include "jni_support.h"

using caffe::jni::check;
using caffe::jni::Classes;
using caffe::jni::classes;
using caffe::jni::guarded;
using caffe::jni::Local;

namespace {

// Attaches a native thread for its whole life: attaching per line would make a Java thread object
// each time.
class Attachment {
 public:
  Attachment() = default;
  ~Attachment() {
    if (attached_ && classes().vm != nullptr) {
      classes().vm->DetachCurrentThread();
    }
  }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  JNIEnv* env() {
    JavaVM* const vm = classes().vm;
    void* env = nullptr;
    if (vm == nullptr) {
      return nullptr;
    }
    if (vm->GetEnv(&env, JNI_VERSION_10) == JNI_EDETACHED) {
      char name[] = "caffe-native";
      JavaVMAttachArgs arguments{JNI_VERSION_10, name, nullptr};
      if (vm->AttachCurrentThreadAsDaemon(&env, &arguments) != JNI_OK) {
        return nullptr;
      }
      attached_ = true;
    }
    return static_cast<JNIEnv*>(env);
  }

 private:
  bool attached_ = false;
};

void forward_line(int severity, const char* file, int line, const char* text, void*) {
  thread_local Attachment attachment;
  JNIEnv* const env = attachment.env();
  if (env == nullptr || env->ExceptionCheck()) {
    return;
  }
  const std::string path = file == nullptr ? "" : file;
  guarded(env, [&] {
    const Local<jstring> name(env, caffe::jni::to_java(env, path.substr(path.rfind('/') + 1)));
    const Local<jstring> message(env, caffe::jni::to_java(env, text == nullptr ? "" : text));
    env->CallStaticVoidMethod(classes().log, classes().log_write, severity, name.get(), line,
                              message.get());
  });
  env->ExceptionClear();  // a logger that throws must not fail the engine's call
}

jclass global_class(JNIEnv* env, const char* name) {
  const Local<jclass> found(env, env->FindClass(name));
  return found.get() == nullptr ? nullptr : static_cast<jclass>(env->NewGlobalRef(found.get()));
}

}  // namespace

extern "C" {

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void*) {
  void* raw = nullptr;
  if (vm->GetEnv(&raw, JNI_VERSION_10) != JNI_OK) {
    return JNI_ERR;
  }
  auto* const env = static_cast<JNIEnv*>(raw);
  Classes& known = classes();
  known.vm = vm;
  const std::pair<jclass*, const char*> wanted[] = {
      {&known.string, "java/lang/String"},
      {&known.float_array, "[F"},
      {&known.object, "java/lang/Object"},
      {&known.illegal_argument, "java/lang/IllegalArgumentException"},
      {&known.io, "java/io/IOException"},
      {&known.communication, "com/yahoo/ml/caffe/engine/CommunicationException"},
      {&known.cancelled, "com/yahoo/ml/caffe/engine/CancelledException"},
      {&known.internal, "com/yahoo/ml/caffe/CaffeException"},
      {&known.log, "com/yahoo/ml/caffe/engine/NativeLog"},
  };
  for (const auto& [slot, name] : wanted) {
    *slot = global_class(env, name);
    if (*slot == nullptr) {
      return JNI_ERR;
    }
  }
  known.log_write =
      env->GetStaticMethodID(known.log, "write", "(ILjava/lang/String;ILjava/lang/String;)V");
  return known.log_write == nullptr ? JNI_ERR : JNI_VERSION_10;
}

// Runs when the class loader is collected.
JNIEXPORT void JNICALL JNI_OnUnload(JavaVM* vm, void*) {
  caffe_set_log(nullptr, nullptr);
  void* raw = nullptr;
  if (vm->GetEnv(&raw, JNI_VERSION_10) == JNI_OK) {
    auto* const env = static_cast<JNIEnv*>(raw);
    const Classes& known = classes();
    for (const jclass type :
         {known.string, known.float_array, known.object, known.illegal_argument, known.io,
          known.communication, known.cancelled, known.internal, known.log}) {
      env->DeleteGlobalRef(type);
    }
  }
  classes() = Classes{};
}

JNIEXPORT jstring JNICALL Java_com_yahoo_ml_caffe_engine_Native_version(JNIEnv* env, jclass) {
  return guarded(env, [&] { return caffe::jni::to_java(env, caffe_version()); });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_forwardLog(JNIEnv*, jclass) {
  caffe_set_log(&forward_line, nullptr);
}

JNIEXPORT jbyteArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_parseText(JNIEnv* env, jclass,
                                                                             jstring kind,
                                                                             jbyteArray text,
                                                                             jstring name) {
  return guarded(env, [&] {
    const std::string content = caffe::jni::to_bytes(env, text);
    uint8_t* bytes = nullptr;
    size_t size = 0;
    check(env, caffe_parse_text(caffe::jni::to_utf8(env, kind).c_str(), content.c_str(),
                                caffe::jni::to_utf8(env, name).c_str(), &bytes, &size));
    const std::unique_ptr<uint8_t, decltype(&caffe_bytes_free)> owner(bytes, &caffe_bytes_free);
    return caffe::jni::to_java_bytes(env, bytes, size);
  });
}

}  // extern "C"

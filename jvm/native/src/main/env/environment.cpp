// Loaded before the engine: sets what libgomp reads while it is being loaded. Needs nothing but
// libc.
#include <jni.h>
#include <stdlib.h>

extern "C" JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Environment_setDefault(
    JNIEnv* env, jclass, jstring name, jstring value) {
  const char* key = name == nullptr ? nullptr : env->GetStringUTFChars(name, nullptr);
  if (key == nullptr) {
    return;
  }
  if (const char* text = value == nullptr ? nullptr : env->GetStringUTFChars(value, nullptr);
      text != nullptr) {
    setenv(key, text, 0);
    env->ReleaseStringUTFChars(value, text);
  }
  env->ReleaseStringUTFChars(name, key);
}

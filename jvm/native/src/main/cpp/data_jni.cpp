// Records and inference.
#include <algorithm>
#include <memory>
#include <vector>

#include "jni_support.h"

using caffe::jni::address_of;
using caffe::jni::check;
using caffe::jni::guarded;
using caffe::jni::handle;
using caffe::jni::Local;
using caffe::jni::to_utf8;

namespace {

// Caffe stores raw images channel by channel; Spark rows hold them pixel by pixel.
std::vector<uint8_t> pixel_by_pixel(JNIEnv* env, const caffe_record& record) {
  const size_t channels = record.channels;
  const size_t pixels = static_cast<size_t>(record.height) * record.width;
  const bool negative = record.channels < 0 || record.height < 0 || record.width < 0;
  // Divided, not multiplied: the three together may be more than 64 bits hold.
  const bool fits = pixels == 0
                        ? record.data_size == 0
                        : record.data_size / pixels == channels && record.data_size % pixels == 0;
  if (negative || !fits) {
    caffe::jni::raise(env, caffe::jni::classes().io,
                      "record " + std::string(record.key, record.key_size) + " holds " +
                          std::to_string(record.data_size) + " bytes, but its shape is " +
                          std::to_string(record.channels) + " x " + std::to_string(record.height) +
                          " x " + std::to_string(record.width));
  }
  std::vector<uint8_t> out(record.data_size);
  for (size_t c = 0; c < channels; ++c) {
    for (size_t p = 0; p < pixels; ++p) {
      out[p * channels + c] = record.data[c * pixels + p];
    }
  }
  return out;
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_sourceOpen(JNIEnv* env, jclass,
                                                                         jstring backend,
                                                                         jstring path) {
  return guarded(env, [&] {
    caffe_source* source = nullptr;
    check(env,
          caffe_source_open(to_utf8(env, backend).c_str(), to_utf8(env, path).c_str(), &source));
    return address_of(source);
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_sourceSize(JNIEnv* env, jclass,
                                                                         jlong source) {
  return guarded(env, [&] {
    return static_cast<jlong>(caffe_source_size(handle<caffe_source>(env, source)));
  });
}

JNIEXPORT jbyteArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_sourceRead(
    JNIEnv* env, jclass, jlong source, jlong index, jintArray header, jobjectArray key) {
  return guarded(env, [&]() -> jbyteArray {
    caffe_record record{};
    check(env, caffe_source_read(handle<caffe_source>(env, source), index, &record));
    const jint fields[] = {record.channels, record.height, record.width, record.label,
                           record.encoded};
    env->SetIntArrayRegion(header, 0, 5, fields);
    const Local<jstring> name(env, caffe::jni::to_java(env, record.key, record.key_size));
    env->SetObjectArrayElement(key, 0, name.get());
    caffe::jni::check_pending(env);
    if (record.data == nullptr) {
      return nullptr;
    }
    if (record.encoded != 0) {
      return caffe::jni::to_java_bytes(env, record.data, record.data_size);
    }
    const std::vector<uint8_t> pixels = pixel_by_pixel(env, record);
    return caffe::jni::to_java_bytes(env, pixels.data(), pixels.size());
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_sourceFree(JNIEnv*, jclass,
                                                                        jlong source) {
  caffe_source_free(reinterpret_cast<caffe_source*>(source));
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_rowsCreate(JNIEnv* env, jclass,
                                                                         jstring path,
                                                                         jstring name) {
  return guarded(env, [&] {
    caffe_rows* rows = nullptr;
    check(env, caffe_rows_create(to_utf8(env, path).c_str(), to_utf8(env, name).c_str(), &rows));
    return address_of(rows);
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_rowsAppend(JNIEnv* env, jclass,
                                                                        jlong rows, jobject bytes,
                                                                        jint size) {
  guarded(env, [&] {
    const void* address = bytes == nullptr ? nullptr : env->GetDirectBufferAddress(bytes);
    if (address == nullptr || size < 0 || size > env->GetDirectBufferCapacity(bytes)) {
      caffe::jni::raise(env, caffe::jni::classes().illegal_argument,
                        "rows must lie in a direct buffer of at least their size");
    }
    check(env, caffe_rows_append(handle<caffe_rows>(env, rows),
                                 static_cast<const uint8_t*>(address), static_cast<size_t>(size)));
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_rowsFinish(JNIEnv* env, jclass,
                                                                         jlong rows) {
  return guarded(env, [&] {
    int64_t count = 0;
    check(env, caffe_rows_finish(handle<caffe_rows>(env, rows), &count));
    return static_cast<jlong>(count);
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_rowsFree(JNIEnv*, jclass, jlong rows) {
  caffe_rows_free(reinterpret_cast<caffe_rows*>(rows));
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_netCreate(JNIEnv* env, jclass,
                                                                        jbyteArray net, jint phase,
                                                                        jstring options) {
  return guarded(env, [&] {
    const std::string message = caffe::jni::to_bytes(env, net);
    caffe_net* created = nullptr;
    check(env, caffe_net_create(reinterpret_cast<const uint8_t*>(message.data()), message.size(),
                                phase, to_utf8(env, options).c_str(), &created));
    return address_of(created);
  });
}

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netOutputNames(JNIEnv* env,
                                                                                    jclass,
                                                                                    jlong net) {
  return guarded(env, [&] {
    caffe_strings* names = nullptr;
    check(env, caffe_net_output_names(handle<caffe_net>(env, net), &names));
    return caffe::jni::to_java_strings(env, names);
  });
}

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netBlobNames(JNIEnv* env,
                                                                                  jclass,
                                                                                  jlong net) {
  return guarded(env, [&] {
    caffe_strings* names = nullptr;
    check(env, caffe_net_blob_names(handle<caffe_net>(env, net), &names));
    return caffe::jni::to_java_strings(env, names);
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_netFeed(JNIEnv* env, jclass,
                                                                      jlong net, jstring layer,
                                                                      jstring path) {
  return guarded(env, [&] {
    int64_t count = 0;
    check(env, caffe_net_feed(handle<caffe_net>(env, net), to_utf8(env, layer).c_str(),
                              to_utf8(env, path).c_str(), &count));
    return static_cast<jlong>(count);
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_netForward(JNIEnv* env, jclass,
                                                                         jlong net) {
  return guarded(env, [&] {
    int64_t rows = 0;
    check(env, caffe_net_forward(handle<caffe_net>(env, net), &rows));
    return static_cast<jlong>(rows);
  });
}

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netRecordKeys(JNIEnv* env,
                                                                                   jclass,
                                                                                   jlong net) {
  return guarded(env, [&] {
    caffe_strings* keys = nullptr;
    check(env, caffe_net_record_keys(handle<caffe_net>(env, net), &keys));
    return caffe::jni::to_java_strings(env, keys);
  });
}

JNIEXPORT jfloatArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netBlobRead(JNIEnv* env, jclass,
                                                                                jlong net,
                                                                                jstring blob) {
  return guarded(env, [&] {
    auto* const handle_ = handle<caffe_net>(env, net);
    const std::string name = to_utf8(env, blob);
    int64_t count = 0;
    check(env, caffe_net_blob_count(handle_, name.c_str(), &count));
    // Not a pinned Java array: reading may log, and a thread that pins may not call Java.
    std::vector<float> values(count);
    check(env, caffe_net_blob_read(handle_, name.c_str(), values.data(), count));
    return caffe::jni::to_java_floats(env, values.data(), values.size());
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_netCancel(JNIEnv* env, jclass,
                                                                       jlong net) {
  guarded(env, [&] { caffe_net_cancel(handle<caffe_net>(env, net)); });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_netFree(JNIEnv*, jclass, jlong net) {
  caffe_net_free(reinterpret_cast<caffe_net*>(net));
}

}  // extern "C"

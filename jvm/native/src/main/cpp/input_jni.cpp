// Inputs of nets. Values travel in direct buffers, so that they are copied once.
#include <memory>
#include <string>
#include <vector>

#include "jni_support.h"

using caffe::jni::address_of;
using caffe::jni::check;
using caffe::jni::check_pending;
using caffe::jni::guarded;
using caffe::jni::handle;
using caffe::jni::to_utf8;

namespace {

// Room for `count` floats at float number `offset` of a direct buffer.
float* floats_in(JNIEnv* env, jobject buffer, jlong offset, int64_t count) {
  void* const start = buffer == nullptr ? nullptr : env->GetDirectBufferAddress(buffer);
  if (start == nullptr) {
    caffe::jni::raise(env, caffe::jni::classes().illegal_argument,
                      "values must be in a direct ByteBuffer");
  }
  const int64_t capacity =
      env->GetDirectBufferCapacity(buffer) / static_cast<int64_t>(sizeof(float));
  if (offset < 0 || count < 0 || offset > capacity || count > capacity - offset) {
    caffe::jni::raise(env, caffe::jni::classes().illegal_argument,
                      std::to_string(count) + " values at " + std::to_string(offset) +
                          " are more than a buffer of " + std::to_string(capacity) + " can hold");
  }
  return static_cast<float*>(start) + offset;
}

// Three extents.
struct Extents {
  Extents(JNIEnv* env, jintArray array) {
    static_assert(sizeof(jint) == sizeof(int32_t));
    if (array == nullptr || env->GetArrayLength(array) != 3) {
      caffe::jni::raise(env, caffe::jni::classes().illegal_argument,
                        "extents are three numbers: channels, height, width");
    }
    env->GetIntArrayRegion(array, 0, 3, values);
    check_pending(env);
  }
  int64_t count() const { return int64_t{values[0]} * values[1] * values[2]; }
  jint values[3] = {};
};

// Takes the picture over: its bytes, and its extents in `extents`.
jbyteArray to_java_pixels(JNIEnv* env, caffe_image* image, jintArray extents) {
  const std::unique_ptr<caffe_image, void (*)(caffe_image*)> owner(image, caffe_image_free);
  int32_t found[3];
  const uint8_t* const pixels = caffe_image_pixels(image, found);
  const size_t size = static_cast<size_t>(found[0]) * found[1] * found[2];
  const jbyteArray bytes = caffe::jni::to_java_bytes(env, pixels, size);
  env->SetIntArrayRegion(extents, 0, 3, found);
  check_pending(env);
  return bytes;
}

}  // namespace

extern "C" {

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netInputNames(JNIEnv* env,
                                                                                   jclass,
                                                                                   jlong net) {
  return guarded(env, [&] {
    caffe_strings* names = nullptr;
    check(env, caffe_net_input_names(handle<caffe_net>(env, net), &names));
    return caffe::jni::to_java_strings(env, names);
  });
}

JNIEXPORT jlongArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_netBlobShape(JNIEnv* env, jclass,
                                                                                jlong net,
                                                                                jstring blob) {
  return guarded(env, [&] {
    static_assert(sizeof(jlong) == sizeof(int64_t));
    int64_t dims[32];
    int axes = 0;
    check(env, caffe_net_blob_shape(handle<caffe_net>(env, net), to_utf8(env, blob).c_str(), dims,
                                    32, &axes));
    const std::vector<jlong> values(dims, dims + axes);
    const jlongArray out = env->NewLongArray(axes);
    check_pending(env);
    env->SetLongArrayRegion(out, 0, axes, values.data());
    return out;
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_netSetInput(JNIEnv* env, jclass,
                                                                         jlong net, jstring blob,
                                                                         jlongArray shape,
                                                                         jobject values) {
  guarded(env, [&] {
    std::vector<jlong> extents(static_cast<size_t>(env->GetArrayLength(shape)));
    env->GetLongArrayRegion(shape, 0, static_cast<jsize>(extents.size()), extents.data());
    check_pending(env);
    const std::vector<int64_t> dims(extents.begin(), extents.end());
    int64_t count = 1;
    for (const int64_t extent : dims) count *= extent > 0 ? extent : 1;
    check(env,
          caffe_net_set_input(handle<caffe_net>(env, net), to_utf8(env, blob).c_str(), dims.data(),
                              static_cast<int>(dims.size()), floats_in(env, values, 0, count)));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_netShare(JNIEnv* env, jclass,
                                                                      jlong net, jlong other) {
  guarded(env, [&] {
    check(env, caffe_net_share(handle<caffe_net>(env, net), handle<caffe_net>(env, other)));
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerCreate(JNIEnv* env, jclass,
                                                                                jbyteArray param,
                                                                                jstring options) {
  return guarded(env, [&] {
    const std::string message = caffe::jni::to_bytes(env, param);
    caffe_transformer* created = nullptr;
    check(env, caffe_transformer_create(reinterpret_cast<const uint8_t*>(message.data()),
                                        message.size(), to_utf8(env, options).c_str(), &created));
    return address_of(created);
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerOutput(JNIEnv* env, jclass,
                                                                               jlong transformer,
                                                                               jintArray in,
                                                                               jintArray out) {
  guarded(env, [&] {
    const Extents extents(env, in);
    int32_t result[3] = {};
    check(env, caffe_transformer_output(handle<caffe_transformer>(env, transformer), extents.values,
                                        result));
    env->SetIntArrayRegion(out, 0, 3, result);
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerEncoded(
    JNIEnv* env, jclass, jlong transformer, jbyteArray bytes, jintArray expected, jobject buffer,
    jlong offset) {
  guarded(env, [&] {
    const Extents extents(env, expected);
    float* const out = floats_in(env, buffer, offset, extents.count());
    const std::string file = caffe::jni::to_bytes(env, bytes);
    check(env, caffe_transformer_encoded(handle<caffe_transformer>(env, transformer),
                                         reinterpret_cast<const uint8_t*>(file.data()), file.size(),
                                         extents.values, out));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerPixels(
    JNIEnv* env, jclass, jlong transformer, jbyteArray bytes, jintArray in, jintArray expected,
    jobject buffer, jlong offset) {
  guarded(env, [&] {
    const Extents found(env, in), extents(env, expected);
    float* const out = floats_in(env, buffer, offset, extents.count());
    const std::string pixels = caffe::jni::to_bytes(env, bytes);
    check(env, caffe_transformer_pixels(handle<caffe_transformer>(env, transformer),
                                        reinterpret_cast<const uint8_t*>(pixels.data()),
                                        pixels.size(), found.values, extents.values, out));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerValues(
    JNIEnv* env, jclass, jlong transformer, jfloatArray values, jintArray in, jintArray expected,
    jobject buffer, jlong offset) {
  guarded(env, [&] {
    const Extents found(env, in), extents(env, expected);
    float* const out = floats_in(env, buffer, offset, extents.count());
    std::vector<float> copy(static_cast<size_t>(env->GetArrayLength(values)));
    env->GetFloatArrayRegion(values, 0, static_cast<jsize>(copy.size()), copy.data());
    check_pending(env);
    check(env, caffe_transformer_values(handle<caffe_transformer>(env, transformer), copy.data(),
                                        copy.size(), found.values, extents.values, out));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_transformerFree(JNIEnv*, jclass,
                                                                             jlong transformer) {
  caffe_transformer_free(reinterpret_cast<caffe_transformer*>(transformer));
}

JNIEXPORT jbyteArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_imageDecode(JNIEnv* env, jclass,
                                                                               jbyteArray bytes,
                                                                               jint channels,
                                                                               jintArray extents) {
  return guarded(env, [&] {
    const std::string file = caffe::jni::to_bytes(env, bytes);
    caffe_image* image = nullptr;
    check(env, caffe_image_decode(reinterpret_cast<const uint8_t*>(file.data()), file.size(),
                                  channels, &image));
    return to_java_pixels(env, image, extents);
  });
}

JNIEXPORT jbyteArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_imageResize(
    JNIEnv* env, jclass, jbyteArray pixels, jintArray extents, jint height, jint width) {
  return guarded(env, [&] {
    const Extents found(env, extents);
    const std::string bytes = caffe::jni::to_bytes(env, pixels);
    caffe_image* image = nullptr;
    check(env, caffe_image_resize(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                  found.values, height, width, &image));
    return to_java_pixels(env, image, extents);
  });
}

}  // extern "C"

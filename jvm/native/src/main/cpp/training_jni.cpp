// Groups of workers and training.
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

// {String[] names, float[][] values}; the outputs are freed.
jobjectArray taken_by_java(JNIEnv* env, caffe_outputs* outputs) {
  const std::unique_ptr<caffe_outputs, decltype(&caffe_outputs_free)> owner(outputs,
                                                                            &caffe_outputs_free);
  const auto& known = caffe::jni::classes();
  const auto size = static_cast<jsize>(caffe_outputs_size(outputs));
  const Local<jobjectArray> names(env, env->NewObjectArray(size, known.string, nullptr));
  caffe::jni::check_pending(env);
  const Local<jobjectArray> values(env, env->NewObjectArray(size, known.float_array, nullptr));
  caffe::jni::check_pending(env);
  for (jsize i = 0; i < size; ++i) {
    const Local<jstring> name(env, caffe::jni::to_java(env, caffe_outputs_name(outputs, i)));
    env->SetObjectArrayElement(names.get(), i, name.get());
    const Local<jfloatArray> floats(
        env, caffe::jni::to_java_floats(env, caffe_outputs_values(outputs, i),
                                        caffe_outputs_count(outputs, i)));
    env->SetObjectArrayElement(values.get(), i, floats.get());
  }
  Local<jobjectArray> both(env, env->NewObjectArray(2, known.object, nullptr));
  caffe::jni::check_pending(env);
  env->SetObjectArrayElement(both.get(), 0, names.get());
  env->SetObjectArrayElement(both.get(), 1, values.get());
  return both.release();
}

std::vector<std::string> to_utf8_list(JNIEnv* env, jobjectArray array) {
  std::vector<std::string> out;
  const jsize size = env->GetArrayLength(array);
  for (jsize i = 0; i < size; ++i) {
    const Local<jstring> item(env, static_cast<jstring>(env->GetObjectArrayElement(array, i)));
    caffe::jni::check_pending(env);
    out.push_back(to_utf8(env, item.get()));
  }
  return out;
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_commCreate(JNIEnv* env, jclass,
                                                                         jstring options) {
  return guarded(env, [&] {
    caffe_comm* comm = nullptr;
    check(env, caffe_comm_create(to_utf8(env, options).c_str(), &comm));
    return address_of(comm);
  });
}

JNIEXPORT jstring JNICALL Java_com_yahoo_ml_caffe_engine_Native_commAddress(JNIEnv* env, jclass,
                                                                            jlong comm) {
  return guarded(env, [&] {
    return caffe::jni::to_java(env, caffe_comm_address(handle<caffe_comm>(env, comm)));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_commConnect(
    JNIEnv* env, jclass, jlong comm, jint rank, jint world, jobjectArray addresses,
    jbyteArray secret, jstring epoch, jlong hash, jlong timeout_ms) {
  guarded(env, [&] {
    const std::vector<std::string> texts = to_utf8_list(env, addresses);
    if (texts.size() != static_cast<size_t>(world)) {
      caffe::jni::raise(
          env, caffe::jni::classes().illegal_argument,
          std::to_string(texts.size()) + " addresses for " + std::to_string(world) + " workers");
    }
    std::vector<const char*> pointers;
    for (const std::string& text : texts) {
      pointers.push_back(text.c_str());
    }
    const std::string key = caffe::jni::to_bytes(env, secret);
    check(env,
          caffe_comm_connect(handle<caffe_comm>(env, comm), rank, world, pointers.data(),
                             reinterpret_cast<const uint8_t*>(key.data()), key.size(),
                             to_utf8(env, epoch).c_str(), static_cast<uint64_t>(hash), timeout_ms));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_commAbort(JNIEnv* env, jclass,
                                                                       jlong comm, jstring reason) {
  guarded(env,
          [&] { caffe_comm_abort(handle<caffe_comm>(env, comm), to_utf8(env, reason).c_str()); });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_commFree(JNIEnv*, jclass, jlong comm) {
  caffe_comm_free(reinterpret_cast<caffe_comm*>(comm));
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverCreate(JNIEnv* env, jclass,
                                                                           jbyteArray solver,
                                                                           jstring options) {
  return guarded(env, [&] {
    const std::string message = caffe::jni::to_bytes(env, solver);
    caffe_solver* created = nullptr;
    check(env, caffe_solver_create(reinterpret_cast<const uint8_t*>(message.data()), message.size(),
                                   to_utf8(env, options).c_str(), &created));
    return address_of(created);
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverConfigHash(JNIEnv* env, jclass,
                                                                               jlong solver) {
  return guarded(env, [&] {
    return static_cast<jlong>(caffe_solver_config_hash(handle<caffe_solver>(env, solver)));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverSetComm(JNIEnv* env, jclass,
                                                                           jlong solver,
                                                                           jlong comm) {
  guarded(env, [&] {
    check(env,
          caffe_solver_set_comm(handle<caffe_solver>(env, solver), handle<caffe_comm>(env, comm)));
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverIter(JNIEnv* env, jclass,
                                                                         jlong solver) {
  return guarded(env, [&] {
    return static_cast<jlong>(caffe_solver_iter(handle<caffe_solver>(env, solver)));
  });
}

JNIEXPORT jlong JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverMaxIter(JNIEnv* env, jclass,
                                                                            jlong solver) {
  return guarded(env, [&] {
    return static_cast<jlong>(caffe_solver_max_iter(handle<caffe_solver>(env, solver)));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverStep(JNIEnv* env, jclass,
                                                                        jlong solver,
                                                                        jlong iterations,
                                                                        jdoubleArray progress) {
  guarded(env, [&] {
    caffe_progress p{};
    check(env, caffe_solver_step(handle<caffe_solver>(env, solver), iterations, &p));
    const jdouble fields[] = {static_cast<double>(p.iter),
                              p.loss,
                              p.smoothed_loss,
                              p.learning_rate,
                              p.seconds,
                              p.data_seconds,
                              p.comm_seconds,
                              static_cast<double>(p.records)};
    env->SetDoubleArrayRegion(progress, 0, 8, fields);
  });
}

JNIEXPORT jint JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverTestNets(JNIEnv* env, jclass,
                                                                            jlong solver) {
  return guarded(env, [&] {
    return static_cast<jint>(caffe_solver_test_nets(handle<caffe_solver>(env, solver)));
  });
}

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverTest(JNIEnv* env, jclass,
                                                                                jlong solver,
                                                                                jint index) {
  return guarded(env, [&] {
    caffe_outputs* outputs = nullptr;
    check(env, caffe_solver_test(handle<caffe_solver>(env, solver), index, &outputs));
    return taken_by_java(env, outputs);
  });
}

JNIEXPORT jobjectArray JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverTestOutputNames(
    JNIEnv* env, jclass, jlong solver, jint index) {
  return guarded(env, [&] {
    caffe_strings* names = nullptr;
    check(env, caffe_solver_test_output_names(handle<caffe_solver>(env, solver), index, &names));
    return caffe::jni::to_java_strings(env, names);
  });
}

JNIEXPORT jobjectArray JNICALL
Java_com_yahoo_ml_caffe_engine_Native_solverLayerTimes(JNIEnv* env, jclass, jlong solver) {
  return guarded(env, [&] {
    caffe_outputs* times = nullptr;
    check(env, caffe_solver_layer_times(handle<caffe_solver>(env, solver), &times));
    return taken_by_java(env, times);
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverKeepState(JNIEnv* env, jclass,
                                                                             jlong solver) {
  guarded(env, [&] { check(env, caffe_solver_keep_state(handle<caffe_solver>(env, solver))); });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverSnapshot(
    JNIEnv* env, jclass, jlong solver, jstring model, jstring state, jstring learned_net) {
  guarded(env, [&] {
    const std::string state_path = state == nullptr ? "" : to_utf8(env, state);
    const std::string learned = learned_net == nullptr ? "" : to_utf8(env, learned_net);
    check(env, caffe_solver_snapshot(handle<caffe_solver>(env, solver), to_utf8(env, model).c_str(),
                                     state == nullptr ? nullptr : state_path.c_str(),
                                     learned_net == nullptr ? nullptr : learned.c_str()));
  });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverCancel(JNIEnv* env, jclass,
                                                                          jlong solver) {
  guarded(env, [&] { caffe_solver_cancel(handle<caffe_solver>(env, solver)); });
}

JNIEXPORT void JNICALL Java_com_yahoo_ml_caffe_engine_Native_solverFree(JNIEnv*, jclass,
                                                                        jlong solver) {
  caffe_solver_free(reinterpret_cast<caffe_solver*>(solver));
}

}  // extern "C"

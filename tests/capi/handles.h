#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "capi/caffe_c.h"
#include "support/scratch.h"

namespace caffe::testing {

// A call that must not fail.
inline void must(int status) {
  if (status != CAFFE_OK)
    throw std::runtime_error("status " + std::to_string(status) + ": " + caffe_last_error());
}

struct Free {
  void operator()(caffe_strings* handle) const { caffe_strings_free(handle); }
  void operator()(caffe_outputs* handle) const { caffe_outputs_free(handle); }
  void operator()(caffe_source* handle) const { caffe_source_free(handle); }
  void operator()(caffe_comm* handle) const { caffe_comm_free(handle); }
  void operator()(caffe_solver* handle) const { caffe_solver_free(handle); }
  void operator()(caffe_net* handle) const { caffe_net_free(handle); }
};
using StringsHandle = std::unique_ptr<caffe_strings, Free>;
using OutputsHandle = std::unique_ptr<caffe_outputs, Free>;
using SourceHandle = std::unique_ptr<caffe_source, Free>;
using CommHandle = std::unique_ptr<caffe_comm, Free>;
using SolverHandle = std::unique_ptr<caffe_solver, Free>;
using NetHandle = std::unique_ptr<caffe_net, Free>;

// The serialised message of a text.
inline std::string message(const std::string& kind, const std::string& text) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  must(caffe_parse_text(kind.c_str(), text.c_str(), "test.prototxt", &bytes, &size));
  std::string wire(reinterpret_cast<const char*>(bytes), size);
  caffe_bytes_free(bytes);
  return wire;
}

inline int create_net(const std::string& text, int phase, const std::string& options,
                      NetHandle* net) {
  const std::string wire = message("net", text);
  caffe_net* handle = nullptr;
  const int status = caffe_net_create(reinterpret_cast<const uint8_t*>(wire.data()), wire.size(),
                                      phase, options.c_str(), &handle);
  net->reset(handle);
  return status;
}

inline int create_solver(const std::string& text, const std::string& options,
                         SolverHandle* solver) {
  const std::string wire = message("solver", text);
  caffe_solver* handle = nullptr;
  const int status = caffe_solver_create(reinterpret_cast<const uint8_t*>(wire.data()), wire.size(),
                                         options.c_str(), &handle);
  solver->reset(handle);
  return status;
}

inline SolverHandle make_solver(const std::string& text, const std::string& options = "") {
  SolverHandle solver;
  must(create_solver(text, options, &solver));
  return solver;
}

inline NetHandle make_net(const std::string& text, int phase = 1, const std::string& options = "") {
  NetHandle net;
  must(create_net(text, phase, options, &net));
  return net;
}

// Whether this processor computes in bf16. To be asked through the interface itself: where the
// engine has it is no business of a caller's.
inline bool has_bf16() {
  NetHandle net;
  const int status =
      create_net("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }", 1,
                 "precision=bf16", &net);
  const bool refused =
      std::string(caffe_last_error()).find("this processor does not compute in bf16") !=
      std::string::npos;
  if (status != CAFFE_OK && !refused) must(status);
  return status == CAFFE_OK;
}

inline std::vector<std::string> to_vector(StringsHandle strings) {
  std::vector<std::string> list;
  for (size_t i = 0; i < caffe_strings_size(strings.get()); ++i)
    list.emplace_back(caffe_strings_at(strings.get(), i));
  return list;
}

// Runs a function of the kind f(handle, ..., caffe_strings**).
template <typename Call>
std::vector<std::string> strings_of(Call&& call) {
  caffe_strings* strings = nullptr;
  must(call(&strings));
  return to_vector(StringsHandle(strings));
}

inline std::vector<float> read_blob(caffe_net* net, const std::string& blob) {
  int64_t count = 0;
  must(caffe_net_blob_count(net, blob.c_str(), &count));
  std::vector<float> values(static_cast<size_t>(count));
  must(caffe_net_blob_read(net, blob.c_str(), values.data(), count));
  return values;
}

// A small smooth net (no kinks, so that trajectories do not drift apart by rounding) on an LMDB of
// 28 x 28 images.
inline std::string smooth_net(const std::string& train_db, const std::string& test_db, int batch) {
  const auto data = [&](const std::string& phase, const std::string& source) {
    return "layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: " + phase +
           " } transform_param { scale: 0.00390625 } data_param { source: '" + source +
           "' backend: LMDB batch_size: " + std::to_string(batch) + " } }\n";
  };
  const std::string filler =
      " weight_filler { type: 'xavier' } bias_filler { type: 'constant' } } }\n";
  return "name: 'smooth'\n" + data("TRAIN", train_db) + data("TEST", test_db) +
         "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1' param { lr_mult: 1 "
         "} param { lr_mult: 2 } "
         "convolution_param { num_output: 4 kernel_size: 5" +
         filler +
         "layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1' "
         "pooling_param { pool: AVE kernel_size: 2 stride: 2 } }\n"
         "layer { name: 'tanh1' type: 'TanH' bottom: 'pool1' top: 'pool1' }\n"
         "layer { name: 'ip1' type: 'InnerProduct' bottom: 'pool1' top: 'ip1' inner_product_param "
         "{ num_output: 12" +
         filler +
         "layer { name: 'tanh2' type: 'TanH' bottom: 'ip1' top: 'ip1' }\n"
         "layer { name: 'ip2' type: 'InnerProduct' bottom: 'ip1' top: 'ip2' inner_product_param { "
         "num_output: 10" +
         filler +
         "layer { name: 'accuracy' type: 'Accuracy' bottom: 'ip2' bottom: 'label' top: 'accuracy' "
         "include { phase: TEST } }\n"
         "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: 'loss' "
         "}\n";
}

// Solver text with that net inside.
inline std::string with_net(const std::string& solver, const std::string& net) {
  return solver + "\nnet_param {\n" + net + "}\n";
}

// Copies of the fixtures' LMDBs: 60 records to train on, 24 to test on.
struct Digits {
  Scratch scratch;
  std::string train = scratch.golden("formats/train_lmdb");
  std::string test = scratch.golden("formats/test_lmdb");
};

}  // namespace caffe::testing

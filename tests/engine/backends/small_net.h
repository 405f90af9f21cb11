#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "layers/operation.h"

namespace caffe::testing {

// A few layers wired by hand, run either by one backend's implementations or, as the oracle, by the
// portable code in double precision. Inputs, weights and top gradients are the same numbers for the
// same names.
class SmallNet {
 public:
  struct Options {
    std::string backend = {};  // empty: portable
    DType dtype = DType::kF32;
    Precision precision = Precision::kF32;
    Phase phase = TRAIN;
    bool backward = true;
    bool fuse = false;        // layers go along with the one before them where the backend can
    bool strict = false;      // the first refusal is thrown, instead of fusing less
    bool unobserved = false;  // nobody looks at tops but the layers after them
    std::set<std::string> no_gradient = {};
    std::vector<bool> learns = {};    // of the first layer's parameters; empty: all
    std::string values = "gaussian";  // or "integers": many ties
    bool fall_back = false;  // to the portable code where the backend refuses, as a plan does
  };

  SmallNet(const std::string& prototxt, const std::map<std::string, Shape>& inputs,
           const Options& options);

  void forward();
  void backward();
  void clear_gradients();
  // Fills the gradient of a blob that no layer of this net computes.
  void set_gradient(const std::string& blob, int seed);

  Blob& blob(const std::string& name) { return *blobs_.at(name); }
  Layer& layer(size_t index) { return *layers_[index]; }
  Implementation& implementation(size_t index) { return *implementations_[index]; }
  std::vector<double> data(const std::string& blob) { return values(blobs_.at(blob)->data()); }
  std::vector<double> gradient(const std::string& blob) { return values(blobs_.at(blob)->diff()); }
  static std::vector<double> values(Buffer& buffer);
  static void fill(Buffer& buffer, int seed, bool integers);

 private:
  Blobs find(const google::protobuf::RepeatedPtrField<std::string>& names, bool create);
  Options options_;
  RunContext context_;
  std::map<std::string, std::unique_ptr<Blob>> blobs_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::unique_ptr<Implementation>> implementations_;
};

// An Eltwise layer "e".
std::string sum(const std::string& bottoms, const std::string& top,
                const std::string& param = "operation: SUM");

// The reason that a backend gives for not doing the first layer; empty where it does it.
std::string refusal(const std::string& prototxt, const std::map<std::string, Shape>& inputs,
                    SmallNet::Options options = {});

// `tolerance` is of the largest.
void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 const std::string& what, double tolerance = 1e-5);

// Runs the net with the backend and with the oracle, forward and backward, twice, and compares
// everything: tops, bottom gradients, and parameter gradients after one and after two backward
// passes. Both ways with and without fusion.
void expect_equal_to_portable(const std::string& prototxt,
                              const std::map<std::string, Shape>& inputs,
                              const std::vector<std::string>& outputs,
                              SmallNet::Options options = {});

}  // namespace caffe::testing

#include <gmock/gmock.h>

#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

// Sums that the convolution before them takes along.

const std::string kFirst =
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 18 "
    "kernel_size: 3 pad: 1 } }";

// From x to b, of the shape of a.
std::string second(const std::string& type, const std::string& param) {
  return "layer { name: 'b' type: '" + type +
         "' bottom: 'x' top: 'b' convolution_param { num_output: 18 " + param + " } }";
}

std::string then(const std::string& type, const std::string& bottom, const std::string& top) {
  return "layer { name: '" + top + "_" + type + "' type: '" + type + "' bottom: '" + bottom +
         "' top: '" + top + "' }";
}

const std::map<std::string, Shape> kInput = {{"x", {2, 18, 9, 8}}};
const SmallNet::Options kFused = {
    .phase = TEST, .backward = false, .fuse = true, .strict = true, .unobserved = true};

// `convolution`: the index of the one that takes the sum along.
void expect_fused_and_equal(const std::string& net, const std::vector<std::string>& outputs,
                            size_t convolution = 1) {
  SmallNet::Options options = kFused;
  options.backend = "onednn";
  EXPECT_THAT(SmallNet(net, kInput, options).implementation(convolution).details(),
              ::testing::HasSubstr("+sum"))
      << net;
  expect_equal_to_portable(net, kInput, outputs, kFused);
}

TEST(OnednnAddend, SumAfterAConvolutionEqualsPortable) {
  for (const std::string& b :
       {second("Convolution", "kernel_size: 1"), second("Convolution", "kernel_size: 3 pad: 1"),
        second("Convolution", "kernel_size: 3 pad: 1 group: 2 bias_term: false"),
        second("Convolution", "kernel_size: 3 pad: 1 group: 18"),
        second("Deconvolution", "kernel_size: 3 pad: 1")}) {
    for (const char* bottoms : {"bottom: 'a' bottom: 'b'", "bottom: 'b' bottom: 'a'"}) {
      expect_fused_and_equal(kFirst + b + sum(bottoms, "y"), {"y"});
      expect_fused_and_equal(
          kFirst + b + sum(bottoms, "y", "coeff: 1 coeff: 1") + then("ReLU", "y", "y"), {"y"});
      expect_fused_and_equal(kFirst + b + sum(bottoms, "s") + then("Sigmoid", "s", "y"), {"y"});
    }
  }
}

TEST(OnednnAddend, SumAfterNormalisationEqualsPortable) {
  // A deconvolution's weights are not folded, so all of it is done to its result.
  expect_fused_and_equal(kFirst + second("Deconvolution", "kernel_size: 1") +
                             then("Scale", "b", "n") + sum("bottom: 'a' bottom: 'n'", "s") +
                             then("ReLU", "s", "y"),
                         {"y"});
}

TEST(OnednnAddend, SumInPlace) {
  for (const char* top : {"a", "b"}) {
    expect_fused_and_equal(kFirst + second("Convolution", "kernel_size: 1") +
                               sum("bottom: 'a' bottom: 'b'", top) + then("ReLU", top, "y"),
                           {"y"});
  }
}

// Both of which others read once more.
TEST(OnednnAddend, AddsWhatIsReadLater) {
  const std::string b = second("Convolution", "kernel_size: 3 pad: 1");
  expect_fused_and_equal(b + sum("bottom: 'x' bottom: 'b'", "y"), {"x", "y"}, 0);
  expect_fused_and_equal(kFirst + b + sum("bottom: 'a' bottom: 'b'", "y"), {"a", "y"});
}

TEST(OnednnAddend, LeavesOtherSumsToTheirLayer) {
  const std::string nets = kFirst + second("Convolution", "kernel_size: 1");
  const std::string two = "bottom: 'a' bottom: 'b' ";
  SmallNet::Options lenient = kFused;
  lenient.strict = false;
  lenient.fall_back = true;
  const std::pair<std::string, std::string> cases[] = {
      {sum(two, "y", "coeff: 1 coeff: -1"),
       "fuses an Eltwise only where it is a sum without coefficients"},
      {sum(two, "y", "operation: PROD"),
       "fuses an Eltwise only where it is a sum without coefficients"},
      {sum(two + "bottom: 'x'", "y"), "fuses sums of two only"},
  };
  for (const auto& [layer, reason] : cases) {
    EXPECT_EQ(refusal(nets + layer, kInput, kFused), reason);
    expect_equal_to_portable(nets + layer, kInput, {"y"}, lenient);
  }
}

// Where gradients go back, both terms of a sum are needed.
TEST(OnednnAddend, StaysALayerOfItsOwnInTraining) {
  SmallNet::Options training = kFused;
  training.backward = true;
  expect_equal_to_portable(kFirst + second("Convolution", "kernel_size: 1") +
                               sum("bottom: 'a' bottom: 'b'", "y") + then("ReLU", "y", "y"),
                           kInput, {"y"}, training);
}

}  // namespace
}  // namespace caffe::testing

#include "backends/cpu/precision.h"

#include <gmock/gmock.h>

#include "core/bf16.h"
#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

// Small whole numbers are the same in bfloat16, and so are their products; sums are floats. So only
// what is written is rounded, and ties and signs are the oracle's.
class Bf16Backend : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!supports(Precision::kBF16)) GTEST_SKIP() << "this processor does not compute in bf16";
  }
  static SmallNet::Options options() {
    return {.precision = Precision::kBF16, .values = "integers", .fall_back = true};
  }
};

std::string convolution(const std::string& name, const std::string& param, bool relu = false) {
  std::string text = "layer { name: '" + name + "' type: 'Convolution' bottom: 'x' top: '" + name +
                     "' convolution_param { " + param + " } }";
  if (relu)
    text += "layer { name: '" + name + "_relu' type: 'ReLU' bottom: '" + name + "' top: '" + name +
            "' }";
  return text;
}

// After a convolution, so that what is tested finds its layout.
std::string after_convolution(const std::string& layer, int channels = 32) {
  return convolution("c", "num_output: " + std::to_string(channels) + " kernel_size: 1") + layer;
}

TEST_P(Bf16Backend, EqualsPortableButForRounding) {
  for (const bool fuse : {false, true}) {
    SmallNet::Options with = options();
    with.fuse = fuse;
    expect_equal_to_portable(GetParam(), {{"x", {2, 16, 8, 9}}}, {"y"}, with);
    with.backward = false;
    with.unobserved = true;
    with.phase = TEST;
    expect_equal_to_portable(GetParam(), {{"x", {2, 16, 8, 9}}}, {"y"}, with);
  }
}

std::string named(const std::string& type, const std::string& rest) {
  return "layer { name: 'l' type: '" + type + "' bottom: 'c' top: 'y' " + rest + " }";
}

const char* const kTwo =
    "layer { name: 'd' type: 'Convolution' bottom: 'x' top: 'd' "
    "convolution_param { num_output: 32 kernel_size: 1 } }";

INSTANTIATE_TEST_SUITE_P(
    Layers, Bf16Backend,
    ::testing::Values(
        convolution("y", "num_output: 21 kernel_size: 3 pad: 1"),
        convolution("y", "num_output: 32 kernel_size: 3 stride: 2", true),
        convolution("y", "num_output: 32 kernel_size: 3 group: 2 pad: 1", true),
        convolution("y", "num_output: 16 kernel_size: 3 group: 16 bias_term: false"),
        "layer { name: 'y' type: 'Deconvolution' bottom: 'x' top: 'y' convolution_param { "
        "num_output: 24 kernel_size: 2 stride: 2 } }",
        "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { "
        "num_output: 40 } } layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }",
        "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { "
        "num_output: 10 transpose: true } }",
        after_convolution(named("Pooling", "pooling_param { kernel_size: 3 stride: 2 }")),
        after_convolution(named("Pooling", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")),
        after_convolution(named("LRN", "lrn_param { alpha: 0.01 }")),
        after_convolution(named("LRN", "lrn_param { local_size: 3 alpha: 0.01 beta: 0.5 }"), 20),
        after_convolution(named("ReLU", "")), after_convolution(named("Sigmoid", "")),
        after_convolution(named("TanH", "")), after_convolution(named("AbsVal", "")),
        after_convolution(named("PReLU", "")), after_convolution(named("Threshold", "")),
        after_convolution(named("Power", "power_param { scale: 2 shift: 1 }")),
        after_convolution(named("Softmax", "")),
        // A bias before a normalisation has no gradient.
        convolution("c", "num_output: 32 kernel_size: 1 bias_term: false") +
            named("BatchNorm", "") +
            "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' scale_param { "
            "bias_term: true } } layer { name: 'r' type: 'ReLU' bottom: 'y' top: "
            "'y' }",
        after_convolution(std::string(kTwo) + named("Eltwise", "bottom: 'd'") +
                          "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }"),
        after_convolution(std::string(kTwo) +
                          named("Eltwise",
                                "bottom: 'd' bottom: 'c' eltwise_param { coeff: 1 "
                                "coeff: -2 coeff: 1 }")),
        after_convolution(std::string(kTwo) + named("Concat", "bottom: 'd'")),
        after_convolution("layer { name: 's' type: 'Slice' bottom: 'c' top: 'a' top: 'b' } layer "
                          "{ name: 'l' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'y' }"),
        after_convolution("layer { name: 's' type: 'Split' bottom: 'c' top: 'a' top: 'b' top: 'e' "
                          "} layer { name: 'l' type: 'Eltwise' bottom: 'a' bottom: 'b' bottom: "
                          "'e' top: 'y' }")));

TEST_F(Bf16Backend, AConvolutionOfOneChannelHasAFastGradient) {
  // oneDNN has only reference code for its weights' gradient in bf16.
  expect_equal_to_portable(convolution("y", "num_output: 20 kernel_size: 5"),
                           {{"x", {4, 1, 12, 12}}}, {"y"}, options());
}

TEST_F(Bf16Backend, NormalisationOfFewChannelsHasAFastKernel) {
  // The convolution has no blocks of channels, for which oneDNN's only kernel is a loop.
  const std::string net =
      convolution("c", "num_output: 20 kernel_size: 3 bias_term: false") + named("BatchNorm", "");
  SmallNet::Options with = options();
  with.backend = "onednn";
  EXPECT_THAT(SmallNet(net, {{"x", {4, 20, 12, 12}}}, with).implementation(1).details(),
              ::testing::StartsWith("bnorm_jit"));
  expect_equal_to_portable(net, {{"x", {4, 20, 12, 12}}}, {"y"}, options());
}

TEST_F(Bf16Backend, WindowsOfOnePixelOverManyHaveTheSameGradient) {
  expect_equal_to_portable(convolution("y", "num_output: 32 kernel_size: 1"),
                           {{"x", {2, 16, 28, 28}}}, {"y"}, options());
}

TEST_F(Bf16Backend, RoundsActivationsAndKeepsParametersExact) {
  const std::string text = convolution("y", "num_output: 32 kernel_size: 3");
  SmallNet::Options rounded = options();
  rounded.backend = "onednn";
  rounded.values = "gaussian";
  SmallNet net(text, {{"x", {2, 16, 8, 9}}}, rounded);
  SmallNet exact(text, {{"x", {2, 16, 8, 9}}}, {.backend = "onednn"});
  net.forward();
  exact.forward();
  EXPECT_NE(net.data("y"), exact.data("y"));
  for (const double value : net.data("y")) {
    const auto number = static_cast<float>(value);
    ASSERT_EQ(static_cast<float>(BF16(number)), number);
  }
  Buffer& weights = net.layer(0).blobs()[0]->data();
  EXPECT_EQ(net.values(weights), exact.values(exact.layer(0).blobs()[0]->data()));
  net.set_gradient("y", 1);
  net.clear_gradients();
  net.backward();
  EXPECT_TRUE(!weights.layout(weights.master()) || weights.layout(weights.master())->exact());
  // What an update writes is what is read, and what is multiplied follows it.
  static_cast<float*>(weights.update(weights.master()))[0] += 0.0001F;
  EXPECT_NE(net.values(weights), exact.values(exact.layer(0).blobs()[0]->data()));
}

}  // namespace
}  // namespace caffe::testing

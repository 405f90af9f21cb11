#include <gmock/gmock.h>

#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string convolution(const std::string& param) {
  return "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' convolution_param { " + param +
         " } }";
}
const char* const kReluAfter = " layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";

struct Case {
  std::string param;
  Shape shape;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.param << " on " << c.shape.str(); }

class OnednnConvolution : public ::testing::TestWithParam<Case> {};

TEST_P(OnednnConvolution, EqualsPortableAlsoWhenGradientsAreAdded) {
  expect_equal_to_portable(convolution(GetParam().param), {{"x", GetParam().shape}}, {"y"});
}

TEST_P(OnednnConvolution, EqualsPortableWithReluFused) {
  expect_equal_to_portable(convolution(GetParam().param) + kReluAfter, {{"x", GetParam().shape}},
                           {"y"}, {.fuse = true});
}

TEST_P(OnednnConvolution, EqualsPortableInInference) {
  expect_equal_to_portable(convolution(GetParam().param) + kReluAfter, {{"x", GetParam().shape}},
                           {"y"}, {.phase = TEST, .backward = false, .fuse = true});
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, OnednnConvolution,
    ::testing::Values(
        Case{"num_output: 20 kernel_size: 5", {3, 1, 14, 14}},
        Case{"num_output: 50 kernel_size: 5", {2, 20, 12, 12}},
        Case{"num_output: 7 kernel_size: 3 pad: 1 stride: 2", {2, 5, 9, 11}},
        Case{"num_output: 16 kernel_size: 1", {4, 32, 6, 6}},
        Case{"num_output: 24 kernel_size: 1 stride: 2", {2, 16, 9, 8}},
        Case{"num_output: 32 kernel_size: 3 pad: 1", {2, 3, 16, 16}},
        Case{"num_output: 6 group: 3 kernel_size: 3 bias_term: false", {2, 9, 8, 8}},
        Case{"num_output: 8 group: 8 kernel_size: 3 pad: 1", {1, 8, 7, 7}},
        Case{"num_output: 32 group: 2 kernel_size: 5 pad: 2", {2, 32, 9, 9}},
        Case{"num_output: 5 kernel_size: 3 dilation: 2", {2, 4, 11, 9}},
        Case{"num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0 stride_h: 1 stride_w: 2",
             {2, 3, 7, 8}},
        Case{"num_output: 4 kernel_size: 3 kernel_size: 1 pad: 1 pad: 0", {2, 3, 7, 8}},
        Case{"num_output: 6 kernel_size: 3 stride: 2", {2, 4, 17}},
        Case{"num_output: 3 kernel_size: 2 pad: 1", {2, 2, 4, 5, 3}}));

TEST(OnednnConvolutionNet, SeveralBottomsShareTheWeights) {
  expect_equal_to_portable(
      "layer { name: 'c' type: 'Convolution' bottom: 'x1' bottom: 'x2' top: 'y1' top: 'y2' "
      "convolution_param { num_output: 6 kernel_size: 3 } }",
      {{"x1", {2, 3, 6, 6}}, {"x2", {2, 3, 6, 6}}}, {"y1", "y2"});
}

// On processors with AVX2 alone; others have other kernels.
TEST(OnednnConvolutionNet, LeavesOutSlowKernelsInInference) {
  const auto kernel = [](const std::string& param, int64_t channels) {
    SmallNet net(convolution(param), {{"x", {2, channels, 28, 28}}},
                 {.backend = "onednn", .phase = TEST, .backward = false});
    return net.implementation(0).details();
  };
  using ::testing::Not;
  using ::testing::StartsWith;
  EXPECT_THAT(kernel("num_output: 64 kernel_size: 1", 64), Not(StartsWith("brgconv_1x1:avx2 ")));
  EXPECT_THAT(kernel("num_output: 64 kernel_size: 7 stride: 2", 3),
              Not(StartsWith("brg_conv_fwd:avx2 ")));
  EXPECT_THAT(kernel("num_output: 64 kernel_size: 5 pad: 2", 32),
              Not(StartsWith("brg_conv_fwd:avx2 ")));
  EXPECT_THAT(kernel("num_output: 64 kernel_size: 3", 3), Not(StartsWith("brg_conv_fwd:avx2 ")));
}

// Blocks of 16 would make 32 and 64 channels of these.
TEST(OnednnConvolutionNet, DoesNotComputeMuchPadding) {
  SmallNet net(convolution("num_output: 50 kernel_size: 5"), {{"x", {4, 20, 12, 12}}},
               {.backend = "onednn"});
  const auto padding = [&](const char* blob) {
    const Buffer& data = net.blob(blob).data();
    return static_cast<double>(data.bytes(data.preferred())) / static_cast<double>(data.bytes(0));
  };
  EXPECT_LT(padding("x") * padding("y"), 1.5);
}

// oneDNN's own choice has another, to which gradients would be reordered and back.
TEST(OnednnConvolutionNet, GradientsWithAStrideStayInTheLayoutOfTheImages) {
  const std::string before =
      "layer { name: 'b' type: 'Convolution' bottom: 'x' top: 'b' convolution_param { num_output: "
      "64 kernel_size: 1 } }";
  for (const std::string window : {"kernel_size: 1", "kernel_size: 3 pad: 1"}) {
    const std::string after =
        "layer { name: 'c' type: 'Convolution' bottom: 'b' top: 'y' convolution_param { "
        "num_output: 128 stride: 2 " +
        window + " } }";
    SmallNet net(before + after, {{"x", {16, 64, 28, 28}}}, {.backend = "onednn"});
    for (const char* blob : {"b", "y"})
      EXPECT_LE(net.blob(blob).diff().representations(), 2) << blob << ' ' << window;
    expect_equal_to_portable(before + after, {{"x", {2, 64, 10, 10}}}, {"y"});
  }
}

TEST(OnednnConvolutionNet, NoBottomGradientWhereNoneIsWanted) {
  expect_equal_to_portable(convolution("num_output: 6 kernel_size: 3"), {{"x", {2, 3, 6, 6}}},
                           {"y"}, {.no_gradient = {"x"}});
  SmallNet net(convolution("num_output: 6 kernel_size: 3"), {{"x", {2, 3, 6, 6}}},
               {.backend = "onednn", .no_gradient = {"x"}});
  net.forward();
  net.set_gradient("y", 1);
  net.backward();
  EXPECT_TRUE(net.blob("x").diff().is_zero());
}

TEST(OnednnConvolutionNet, OnlyLearnedParametersGetGradients) {
  for (const bool weights : {true, false}) {
    SmallNet oracle(convolution("num_output: 6 kernel_size: 3"), {{"x", {2, 3, 6, 6}}},
                    {.dtype = DType::kF64});
    SmallNet net(convolution("num_output: 6 kernel_size: 3"), {{"x", {2, 3, 6, 6}}},
                 {.backend = "onednn", .learns = std::vector<bool>{weights, !weights}});
    for (SmallNet* each : {&oracle, &net}) {
      each->forward();
      each->set_gradient("y", 1);
      each->backward();
    }
    const size_t learned = weights ? 0 : 1;
    expect_near(net.values(net.layer(0).blobs()[learned]->diff()),
                oracle.values(oracle.layer(0).blobs()[learned]->diff()), "learned");
    EXPECT_TRUE(net.layer(0).blobs()[1 - learned]->diff().is_zero());
  }
}

TEST(OnednnConvolutionNet, RefusesWhatItCannotDo) {
  const std::map<std::string, Shape> x = {{"x", {2, 3, 6, 6}}};
  EXPECT_EQ(refusal(convolution("num_output: 6 kernel_size: 3"), x, {.dtype = DType::kF64}),
            "only float32");
  EXPECT_EQ(refusal(convolution("num_output: 6 kernel_size: 3 axis: 2"), x), "only axis 1");
  EXPECT_EQ(refusal(convolution("num_output: 6 kernel_size: 1"), {{"x", {2, 3, 2, 2, 2, 2}}}),
            "only 1 to 3 spatial axes");
  EXPECT_EQ(refusal(convolution("num_output: 6 kernel_size: 3") +
                        "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' relu_param { "
                        "negative_slope: -0.1 } }",
                    x, {.fuse = true}),
            "the gradient of ReLU needs its input, which is overwritten");
  EXPECT_EQ(refusal(convolution("num_output: 6 kernel_size: 3") +
                        "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' }",
                    x, {.fuse = true}),
            "fuses normalisation only where nothing runs backward");
}

}  // namespace
}  // namespace caffe::testing

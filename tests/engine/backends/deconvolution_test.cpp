#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string deconvolution(const std::string& param) {
  return "layer { name: 'd' type: 'Deconvolution' bottom: 'x' top: 'y' convolution_param { " +
         param + " } }";
}
const char* const kReluAfter = " layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";

struct Case {
  std::string param;
  Shape shape;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.param << " on " << c.shape.str(); }

class OnednnDeconvolution : public ::testing::TestWithParam<Case> {};

TEST_P(OnednnDeconvolution, EqualsPortable) {
  const std::map<std::string, Shape> x = {{"x", GetParam().shape}};
  const std::string net = deconvolution(GetParam().param);
  expect_equal_to_portable(net, x, {"y"});
  expect_equal_to_portable(net, x, {"y"}, {.no_gradient = {"x"}});
  expect_equal_to_portable(net, x, {"y"}, {.learns = {false, true}});
  expect_equal_to_portable(net, x, {"y"}, {.learns = {true, false}});
}

TEST_P(OnednnDeconvolution, EqualsPortableWithReluFused) {
  const std::map<std::string, Shape> x = {{"x", GetParam().shape}};
  const std::string net = deconvolution(GetParam().param) + kReluAfter;
  expect_equal_to_portable(net, x, {"y"}, {.backward = false, .fuse = true});
  if (refusal(net, x, {.fuse = true}).empty())
    expect_equal_to_portable(net, x, {"y"}, {.fuse = true});
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, OnednnDeconvolution,
    ::testing::Values(
        Case{"num_output: 16 kernel_size: 4 stride: 2 pad: 1", {2, 32, 6, 5}},
        Case{"num_output: 21 kernel_size: 4 stride: 2 bias_term: false", {1, 21, 6, 6}},
        Case{"num_output: 3 kernel_size: 8 stride: 4 pad: 2", {2, 5, 4, 3}},
        Case{"num_output: 4 kernel_size: 3", {2, 5, 7, 6}},
        Case{"num_output: 8 kernel_size: 1", {2, 16, 4, 4}},
        Case{"num_output: 8 kernel_size: 3 dilation: 2", {2, 16, 5, 4}},
        Case{"num_output: 8 group: 2 kernel_size: 3 stride: 2", {2, 4, 5, 4}},
        Case{"num_output: 6 group: 6 kernel_size: 4 stride: 2 pad: 1 bias_term: "
             "false",
             {2, 6, 5, 4}},
        Case{"num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2", {2, 3, 4, 5}},
        Case{"num_output: 6 kernel_size: 4 stride: 2 pad: 1", {2, 4, 9}},
        Case{"num_output: 8 kernel_size: 2 stride: 2", {1, 16, 3, 2, 4}}));

TEST(OnednnDeconvolutionNet, SeveralBottomsShareTheWeights) {
  expect_equal_to_portable(
      "layer { name: 'd' type: 'Deconvolution' bottom: 'x1' bottom: 'x2' top: 'y1' top: 'y2' "
      "convolution_param { num_output: 6 kernel_size: 3 } }",
      {{"x1", {2, 3, 6, 6}}, {"x2", {2, 3, 6, 6}}}, {"y1", "y2"});
}

// What a snapshot would hold is in Caffe's order of axes, whatever the plan works on.
TEST(OnednnDeconvolutionNet, WeightsAreReadInCaffesOrder) {
  SmallNet net(deconvolution("num_output: 16 kernel_size: 4 stride: 2"), {{"x", {1, 8, 3, 3}}},
               {.backend = "onednn"});
  Buffer& weights = net.layer(0).blobs()[0]->data();
  const std::vector<double> before = SmallNet::values(weights);
  for (int i = 1; i < weights.representations(); ++i) {
    weights.update(i);
    EXPECT_EQ(SmallNet::values(weights), before);
  }
}

TEST(OnednnDeconvolutionNet, RefusesWhatItCannotDo) {
  EXPECT_EQ(refusal(deconvolution("num_output: 6 kernel_size: 3 axis: 2"), {{"x", {2, 3, 6, 6}}}),
            "only axis 1");
}

}  // namespace
}  // namespace caffe::testing

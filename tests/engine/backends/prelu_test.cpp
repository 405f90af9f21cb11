#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string prelu(const std::string& param, const std::string& bottom, const std::string& top) {
  return "layer { name: 'r' type: 'PReLU' bottom: '" + bottom + "' top: '" + top +
         "' prelu_param { " + param + " } }";
}

std::string convolution(const std::string& bottom, const std::string& top, int outputs) {
  return "layer { name: '" + top + "' type: 'Convolution' bottom: '" + bottom + "' top: '" + top +
         "' convolution_param { kernel_size: 1 num_output: " + std::to_string(outputs) + " } }";
}

class OnednnPRelu : public ::testing::TestWithParam<std::string> {};

TEST_P(OnednnPRelu, EqualsPortableOnPlainArrays) {
  for (const Shape& shape :
       {Shape{3, 5, 7, 2}, Shape{4, 33}, Shape{2, 3, 1400}, Shape{1, 2, 3, 1, 1}}) {
    expect_equal_to_portable(prelu(GetParam(), "x", "y"), {{"x", shape}}, {"y"});
    expect_equal_to_portable(prelu(GetParam(), "x", "y"), {{"x", shape}}, {"y"},
                             {.values = "integers"});
    expect_equal_to_portable(prelu(GetParam(), "x", "y"), {{"x", shape}}, {"y"},
                             {.no_gradient = {"x"}});
    expect_equal_to_portable(prelu(GetParam(), "x", "y"), {{"x", shape}}, {"y"},
                             {.learns = {false}});
  }
}

TEST_P(OnednnPRelu, EqualsPortableInBlockedLayoutAlsoInPlace) {
  for (const char* top : {"z", "c"}) {
    const std::string net =
        convolution("x", "c", 17) + prelu(GetParam(), "c", top) + convolution(top, "y", 8);
    expect_equal_to_portable(net, {{"x", {2, 16, 5, 4}}}, {"y"});
    expect_equal_to_portable(net, {{"x", {2, 16, 40, 30}}}, {"y"}, {.backward = false});
  }
}

INSTANTIATE_TEST_SUITE_P(Slopes, OnednnPRelu, ::testing::Values("", "channel_shared: true"));

}  // namespace
}  // namespace caffe::testing

#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string softmax(const std::string& param, const std::string& top = "y") {
  return "layer { name: 's' type: 'Softmax' bottom: 'x' top: '" + top + "' softmax_param { " +
         param + " } }";
}

TEST(OnednnSoftmax, EqualsPortable) {
  expect_equal_to_portable(softmax(""), {{"x", {7, 10}}}, {"y"});
  expect_equal_to_portable(softmax(""), {{"x", {2, 5, 3, 4}}}, {"y"});
  expect_equal_to_portable(softmax("axis: -1"), {{"x", {2, 5, 3, 4}}}, {"y"});
  expect_equal_to_portable(softmax("axis: 0"), {{"x", {6, 3}}}, {"y"});
  expect_equal_to_portable(softmax(""), {{"x", {3, 1000}}}, {"y"},
                           {.phase = TEST, .backward = false});
}

TEST(OnednnSoftmax, EqualsPortableOnBlockedBottoms) {
  const std::string net =
      "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'x' convolution_param { num_output: "
      "17 kernel_size: 1 } }";
  expect_equal_to_portable(net + softmax(""), {{"d", {2, 16, 5, 5}}}, {"y"});
}

TEST(OnednnSoftmax, InPlace) {
  for (const std::string backend : {"onednn", ""}) {
    SmallNet net(softmax("", "x"), {{"x", {3, 10}}}, {.backend = backend});
    net.forward();
    const std::vector<double> values = net.data("x");
    double sum = 0;
    for (int i = 0; i < 10; ++i) sum += values[static_cast<size_t>(i)];
    EXPECT_NEAR(sum, 1, 1e-6) << backend;
  }
}

}  // namespace
}  // namespace caffe::testing

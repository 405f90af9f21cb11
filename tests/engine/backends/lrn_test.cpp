#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string lrn(const std::string& param) {
  return "layer { name: 'n' type: 'LRN' bottom: 'x' top: 'y' lrn_param { " + param + " } }";
}

TEST(OnednnLrn, EqualsPortableInPlainAndBlockedLayout) {
  const std::string convolution =
      "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'x' convolution_param { num_output: "
      "32 kernel_size: 3 } }";
  const std::string text = lrn("local_size: 5 alpha: 0.4 beta: 0.75 k: 2");
  expect_equal_to_portable(text, {{"x", {2, 32, 6, 7}}}, {"y"});
  expect_equal_to_portable(convolution + text, {{"d", {2, 3, 8, 9}}}, {"y"});
  expect_equal_to_portable(convolution + text, {{"d", {2, 3, 8, 9}}}, {"y"},
                           {.phase = TEST, .backward = false});
}

// Widths that no vendor kernel takes, blocks that are not full, other exponents and reaches.
TEST(OnednnLrn, EqualsPortableForAllParameters) {
  for (const char* param :
       {"local_size: 3 alpha: 0.4 beta: 0.5", "local_size: 7 alpha: 2 beta: 0.9"}) {
    expect_equal_to_portable(lrn(param), {{"x", {2, 5, 6, 7}}}, {"y"});
    for (const int width : {19, 24}) {
      const std::string convolution =
          "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'x' convolution_param { "
          "num_output: " +
          std::to_string(width) + " kernel_size: 3 } }";
      expect_equal_to_portable(convolution + lrn(param), {{"d", {2, 3, 8, 9}}}, {"y"});
    }
  }
}

TEST(OnednnLrn, RefusesOtherRegions) {
  EXPECT_EQ(refusal(lrn("norm_region: WITHIN_CHANNEL local_size: 3"), {{"x", {2, 4, 5, 5}}}),
            "only ACROSS_CHANNELS");
}

}  // namespace
}  // namespace caffe::testing

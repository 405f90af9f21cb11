#include "engine/backends/small_net.h"
#include "kernels/few_rows.h"

namespace caffe::testing {
namespace {

std::string inner_product(const std::string& param) {
  return "layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { " +
         param + " } }";
}

struct Case {
  std::string param;
  Shape shape;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.param << " on " << c.shape.str(); }

class OnednnInnerProduct : public ::testing::TestWithParam<Case> {};

TEST_P(OnednnInnerProduct, EqualsPortable) {
  const std::map<std::string, Shape> x = {{"x", GetParam().shape}};
  const std::string relu = " layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";
  expect_equal_to_portable(inner_product(GetParam().param), x, {"y"});
  expect_equal_to_portable(inner_product(GetParam().param) + relu, x, {"y"}, {.fuse = true});
  expect_equal_to_portable(inner_product(GetParam().param) + relu, x, {"y"},
                           {.phase = TEST, .backward = false, .fuse = true});
}

INSTANTIATE_TEST_SUITE_P(Shapes, OnednnInnerProduct,
                         ::testing::Values(Case{"num_output: 10", {7, 33}},
                                           Case{"num_output: 500", {4, 50, 4, 4}},
                                           Case{"num_output: 3 bias_term: false", {5, 2, 3}},
                                           Case{"num_output: 6 axis: 2", {3, 4, 5, 2}},
                                           Case{"num_output: 6 axis: -1", {3, 4, 5}},
                                           Case{"num_output: 6 axis: 0", {3, 4}},
                                           Case{"num_output: 12 transpose: true", {4, 3, 2, 2}},
                                           Case{"num_output: 1", {1, 1}}));

TEST(OnednnInnerProductNet, TakesBlockedBottomsAsTheyAre) {
  const std::string net =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "
      "18 kernel_size: 3 } }"
      "layer { name: 'i' type: 'InnerProduct' bottom: 'c' top: 'y' inner_product_param { "
      "num_output: 10 } }";
  expect_equal_to_portable(net, {{"x", {4, 16, 6, 6}}}, {"y"});
}

TEST(OnednnInnerProductNet, TakesBlockedBottomsThroughAFlatten) {
  const std::string net =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "
      "18 kernel_size: 3 } }"
      "layer { name: 'f' type: 'Flatten' bottom: 'c' top: 'f' }"
      "layer { name: 'i' type: 'InnerProduct' bottom: 'f' top: 'y' inner_product_param { "
      "num_output: 10 } }";
  expect_equal_to_portable(net, {{"x", {4, 16, 6, 6}}}, {"y"});
}

TEST(OnednnInnerProductNet, Refuses) {
  EXPECT_EQ(refusal(inner_product("num_output: 4"), {{"x", {2, 3}}}, {.dtype = DType::kF64}),
            "only float32");
  EXPECT_EQ(refusal(inner_product("num_output: 4"), {{"x", {0, 3}}}), "a blob is empty");
}

TEST(OnednnInnerProductNet, LeavesAFewRowsToPortableCodeWhereNothingGoesBack) {
  const auto reason = [](const std::string& param, const Shape& x, bool backward) {
    return refusal(inner_product(param), {{"x", x}}, {.phase = TEST, .backward = backward});
  };
  const std::string faster =
      few_rows(5, 64, 600) ? "our own product of a few rows by plain weights is faster" : "";
  EXPECT_EQ(reason("num_output: 64", {5, 600}, false), faster);
  EXPECT_EQ(reason("num_output: 64", {5, 600}, true), "");
  EXPECT_EQ(reason("num_output: 64", {1, 600}, false), "");
  EXPECT_EQ(reason("num_output: 64", {100, 600}, false), "");
  EXPECT_EQ(reason("num_output: 64 transpose: true", {5, 600}, false), "");
}

}  // namespace
}  // namespace caffe::testing

#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string pooling(const std::string& param) {
  return "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y' pooling_param { " + param + " } }";
}

struct Case {
  std::string param;
  Shape shape;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.param << " on " << c.shape.str(); }

class OnednnPooling : public ::testing::TestWithParam<Case> {};

TEST_P(OnednnPooling, EqualsPortable) {
  expect_equal_to_portable(pooling(GetParam().param), {{"x", GetParam().shape}}, {"y"});
  expect_equal_to_portable(pooling(GetParam().param), {{"x", GetParam().shape}}, {"y"},
                           {.backward = false});
}

// Rounded numbers make equal maxima in nearly every window; the first one takes the gradient.
TEST_P(OnednnPooling, EqualsPortableOnTies) {
  expect_equal_to_portable(pooling(GetParam().param), {{"x", GetParam().shape}}, {"y"},
                           {.values = "integers"});
}

TEST_P(OnednnPooling, EqualsPortableInBlockedLayout) {
  const std::string net =
      "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'x' convolution_param { num_output: "
      "17 kernel_size: 1 } }";
  Shape shape = GetParam().shape;
  shape[1] = 16;
  for (const char* values : {"gaussian", "integers"}) {
    expect_equal_to_portable(net + pooling(GetParam().param), {{"d", shape}}, {"y"},
                             {.values = values});
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, OnednnPooling,
    ::testing::Values(
        Case{"pool: MAX kernel_size: 2 stride: 2", {2, 20, 8, 8}},
        Case{"pool: MAX kernel_size: 3 stride: 2", {2, 5, 8, 9}},
        Case{"pool: MAX kernel_size: 3 stride: 2 pad: 1", {2, 3, 8, 7}},
        Case{"pool: MAX kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0",
             {2, 3, 8, 7}},
        Case{"pool: MAX kernel_size: 3 stride: 2 round_mode: FLOOR", {2, 5, 8, 8}},
        Case{"pool: MAX global_pooling: true", {2, 3, 5, 4}},
        Case{"pool: AVE kernel_size: 2 stride: 2", {2, 20, 8, 8}},
        Case{"pool: AVE kernel_size: 3 stride: 2", {2, 5, 8, 9}},
        Case{"pool: AVE kernel_size: 3 stride: 1 pad: 1", {2, 3, 6, 7}},
        Case{"pool: AVE kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR", {2, 3, 8, 8}},
        Case{"pool: AVE kernel_size: 3 stride: 2 pad: 1", {2, 3, 7, 9}},
        Case{"pool: AVE global_pooling: true", {2, 19, 7, 7}}));

TEST(OnednnPoolingNet, RefusesWhatCaffeDoesOtherwise) {
  EXPECT_EQ(refusal(pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1"), {{"x", {1, 2, 8, 8}}}),
            "oneDNN divides averages of clipped, padded windows by another number");
  EXPECT_EQ(refusal(pooling("pool: MAX kernel_size: 1 stride: 3"), {{"x", {1, 2, 5, 5}}}),
            "a window lies outside of the image");
  EXPECT_EQ(refusal("layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y' top: 'mask' "
                    "pooling_param { pool: MAX kernel_size: 2 } }",
                    {{"x", {1, 2, 5, 5}}}),
            "no mask top");
  EXPECT_EQ(
      refusal(pooling("pool: MAX kernel_size: 2"), {{"x", {1, 2, 5, 5}}}, {.dtype = DType::kF64}),
      "only float32");
}

// Nets run a part of themselves by another plan than the whole.
TEST(OnednnPoolingNet, BackwardByAnotherImplementationThanForward) {
  const std::map<std::string, Shape> x = {{"x", {2, 5, 8, 8}}};
  const std::string text = pooling("pool: MAX kernel_size: 2 stride: 2");
  SmallNet net(text, x, {.backend = "onednn"});
  SmallNet oracle(text, x, {.dtype = DType::kF64});
  Operation again;
  again.layer = &net.layer(0);
  again.bottom = {&net.blob("x")};
  again.top = {&net.blob("y")};
  again.propagate_down = {true};
  again.backward = true;
  const auto other = ImplementationRegistry::of("Pooling")[0].make(again);
  net.forward();
  oracle.forward();
  net.set_gradient("y", 1);
  oracle.set_gradient("y", 1);
  other->backward();
  oracle.backward();
  expect_near(net.gradient("x"), oracle.gradient("x"), "gradient");
}

}  // namespace
}  // namespace caffe::testing

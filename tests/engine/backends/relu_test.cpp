#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

const char* const kRelu = "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }";

TEST(OnednnRelu, EqualsPortable) {
  expect_equal_to_portable(kRelu, {{"x", {3, 5, 7, 2}}}, {"y"});
  expect_equal_to_portable(kRelu, {{"x", Shape{}}}, {"y"});
  expect_equal_to_portable(kRelu, {{"x", {2, 3, 1, 2, 2, 3, 4}}}, {"y"}, {.backward = false});
}

TEST(OnednnRelu, SlopeAlsoAtZero) {
  const std::string leaky =
      "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' relu_param { negative_slope: 0.25 } }";
  expect_equal_to_portable(leaky, {{"x", {3, 33}}}, {"y"}, {.values = "integers"});
}

TEST(OnednnRelu, InPlace) {
  const std::string in_place = "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'x' }";
  SmallNet net(in_place, {{"x", {2, 9}}}, {.backend = "onednn"});
  SmallNet oracle(in_place, {{"x", {2, 9}}}, {.dtype = DType::kF64});
  for (SmallNet* each : {&net, &oracle}) {
    each->forward();
    each->set_gradient("x", 3);
    each->backward();
  }
  expect_near(net.data("x"), oracle.data("x"), "data");
  expect_near(net.gradient("x"), oracle.gradient("x"), "gradient");
}

TEST(OnednnRelu, RefusesDoublesAndEmptyBlobs) {
  EXPECT_EQ(refusal(kRelu, {{"x", {2, 3}}}, {.dtype = DType::kF64}), "only float32");
  EXPECT_EQ(refusal(kRelu, {{"x", {0, 3}}}), "a blob is empty");
}

}  // namespace
}  // namespace caffe::testing

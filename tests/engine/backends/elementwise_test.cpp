#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

struct Case {
  std::string type;
  std::string param;
  std::string values = "gaussian";
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.type << " " << c.param; }

std::string layer(const Case& c, const std::string& bottom, const std::string& top) {
  return "layer { name: 'e' type: '" + c.type + "' bottom: '" + bottom + "' top: '" + top + "' " +
         c.param + " } ";
}

// Positive numbers for those that take no others.
const char* const kSquare =
    "layer { name: 's' type: 'Power' bottom: 'x' top: 'p' power_param { power: 2 } }"
    "layer { name: 'o' type: 'Power' bottom: 'p' top: 'q' power_param { shift: 0.5 } }";
// 17 channels: the last block is padded.
const char* const kBlocked =
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'q' convolution_param { num_output: "
    "17 kernel_size: 1 } }";
// Sees what the layer writes into the padding.
const char* const kAfter =
    "layer { name: 'd' type: 'Convolution' bottom: 'z' top: 'y' convolution_param { num_output: 8 "
    "kernel_size: 3 } }";

bool positive(const Case& c) { return c.type == "Log" || c.param.find("power: 0.5") < 99; }

class OnednnElementwise : public ::testing::TestWithParam<Case> {};

TEST_P(OnednnElementwise, EqualsPortableOnPlainNumbers) {
  const std::string before = positive(GetParam()) ? kSquare : "";
  const std::string bottom = positive(GetParam()) ? "q" : "x";
  for (const Shape& shape : {Shape{3, 5, 7, 2}, Shape{}, Shape{2, 3, 1, 2, 2, 3, 4}}) {
    expect_equal_to_portable(before + layer(GetParam(), bottom, "y"), {{"x", shape}}, {"y"},
                             {.values = GetParam().values, .fall_back = true});
    expect_equal_to_portable(before + layer(GetParam(), bottom, "y"), {{"x", shape}}, {"y"},
                             {.backward = false, .values = GetParam().values, .fall_back = true});
  }
}

TEST_P(OnednnElementwise, EqualsPortableInBlockedLayout) {
  if (positive(GetParam())) return;
  const std::string top = layer(GetParam(), "q", "z");
  expect_equal_to_portable(kBlocked + top + kAfter, {{"x", {2, 16, 5, 4}}}, {"y"},
                           {.fall_back = true});
  expect_equal_to_portable(kBlocked + top + kAfter, {{"x", {2, 16, 5, 4}}}, {"y"},
                           {.backward = false, .fall_back = true});
}

TEST_P(OnednnElementwise, EqualsPortableInPlace) {
  if (positive(GetParam())) return;
  const std::string after =
      "layer { name: 'd' type: 'Convolution' bottom: 'q' top: 'y' convolution_param { num_output: "
      "8 kernel_size: 3 } }";
  const std::string net = kBlocked + layer(GetParam(), "q", "q") + after;
  const std::map<std::string, Shape> x = {{"x", {2, 16, 5, 4}}};
  for (const bool backward : {false, true}) {
    expect_equal_to_portable(net, x, {"y"}, {.backward = backward, .fall_back = true});
    if (!refusal(net, x, {.backward = backward, .fuse = true}).empty()) continue;
    expect_equal_to_portable(net, x, {"y"}, {.backward = backward, .fuse = true});
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, OnednnElementwise,
    ::testing::Values(Case{"ReLU", ""}, Case{"ReLU", "relu_param { negative_slope: 0.25 }"},
                      Case{"ReLU", "relu_param { negative_slope: 0.25 }", "integers"},
                      Case{"ReLU", "relu_param { negative_slope: -0.5 }"}, Case{"ReLU6", ""},
                      Case{"ELU", ""}, Case{"ELU", "elu_param { alpha: 0.3 }"},
                      Case{"ELU", "elu_param { alpha: -0.3 }"}, Case{"Sigmoid", ""},
                      Case{"TanH", ""}, Case{"Clip", "clip_param { min: -0.5 max: 0.7 }"},
                      Case{"Clip", "clip_param { min: 0 max: 1 }", "integers"},
                      Case{"Clip", "clip_param { min: 0.5 max: 1 }"}, Case{"AbsVal", ""},
                      Case{"AbsVal", "", "integers"}, Case{"Swish", ""},
                      Case{"Swish", "swish_param { beta: 1.5 }"}, Case{"BNLL", ""},
                      Case{"Power", "power_param { scale: -3 shift: 2 }"},
                      Case{"Power", "power_param { power: 2 scale: 0.5 }"},
                      Case{"Power", "power_param { power: 0 }"},
                      Case{"Power", "power_param { power: 0.5 scale: 2 shift: 1 }"},
                      Case{"Exp", ""}, Case{"Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"},
                      Case{"Log", ""}, Case{"Log", "log_param { base: 3 scale: 2 shift: 0.5 }"}));

// A net may run forward by one plan and backward by another.
TEST(OnednnElementwiseNet, TheKeptInputIsTheLayers) {
  const std::map<std::string, Shape> x = {{"x", {2, 5, 8, 8}}};
  const std::string text = "layer { name: 's' type: 'Swish' bottom: 'x' top: 'x' }";
  SmallNet net(text, x, {.backend = "onednn"});
  SmallNet oracle(text, x, {.dtype = DType::kF64});
  for (SmallNet* each : {&net, &oracle}) {
    each->forward();
    each->set_gradient("x", 1);
  }
  net.layer(0).run_backward({&net.blob("x")}, {true}, {&net.blob("x")});
  oracle.backward();
  expect_near(net.gradient("x"), oracle.gradient("x"), "gradient");
}

TEST(OnednnElementwiseNet, TakesTheUsualOnesInAnyLayout) {
  for (const char* type :
       {"ReLU", "ReLU6", "ELU", "Sigmoid", "TanH", "AbsVal", "Swish", "BNLL", "Exp", "Power"}) {
    EXPECT_EQ(refusal(layer({type, ""}, "x", "y"), {{"x", {2, 3}}}), "") << type;
  }
  const Case clip{"Clip", "clip_param { min: -0.5 max: 0.7 }"};
  SmallNet net(kBlocked + layer(clip, "q", "z"), {{"x", {2, 16, 5, 4}}}, {.backend = "onednn"});
  EXPECT_EQ(net.implementation(1).name(), "onednn");
}

TEST(OnednnElementwiseNet, Refuses) {
  const Case relu{"ReLU", ""};
  EXPECT_EQ(refusal(layer(relu, "x", "y"), {{"x", {2, 3}}}, {.dtype = DType::kF64}),
            "only float32");
  EXPECT_EQ(refusal(layer(relu, "x", "y"), {{"x", {0, 3}}}), "a blob is empty");
  EXPECT_EQ(refusal(layer({"Power", "power_param { power: 3 }"}, "x", "y"), {{"x", {2, 3}}}),
            "oneDNN has no such function");
}

}  // namespace
}  // namespace caffe::testing

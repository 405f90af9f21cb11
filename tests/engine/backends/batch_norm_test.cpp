#include <cmath>

#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

const std::string kConvolution =
    "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'x' convolution_param { num_output: 20 "
    "kernel_size: 3 } }";
const std::map<std::string, Shape> kInput = {{"d", {3, 4, 8, 7}}};

std::string norm(const std::string& bottom, const std::string& top, const std::string& param = "") {
  return "layer { name: 'n' type: 'BatchNorm' bottom: '" + bottom + "' top: '" + top +
         "' batch_norm_param { " + param + " } }";
}
std::string scale(const std::string& bottom, const std::string& top,
                  const std::string& param = "bias_term: true") {
  return "layer { name: 's' type: 'Scale' bottom: '" + bottom + "' top: '" + top +
         "' scale_param { " + param + " } }";
}
std::string relu(const std::string& bottom, const std::string& top) {
  return "layer { name: 'r' type: 'ReLU' bottom: '" + bottom + "' top: '" + top + "' }";
}

// As ResNet's prototxts have it: all in place on the convolution's top; and with blobs of their
// own.
const std::vector<std::pair<std::string, std::string>> kChains = {
    {norm("x", "x"), "x"},
    {norm("x", "y"), "y"},
    {norm("x", "x") + scale("x", "x"), "x"},
    {norm("x", "y") + scale("y", "y"), "y"},
    {norm("x", "x") + relu("x", "x"), "x"},
    {norm("x", "x") + scale("x", "x") + relu("x", "x"), "x"},
    {norm("x", "x") + scale("x", "x", "bias_term: false") + relu("x", "x"), "x"},
    {norm("x", "y") + scale("y", "z") + relu("z", "o"), "o"},
    {norm("x", "y") + scale("y", "y") + relu("y", "y"), "y"},
};

TEST(OnednnBatchNorm, WithTheBatchsStatisticsEqualsPortable) {
  for (const auto& [chain, top] : kChains) {
    SCOPED_TRACE(chain);
    for (const bool fuse : {false, true}) {
      expect_equal_to_portable(kConvolution + chain, kInput, {top},
                               {.fuse = fuse, .unobserved = fuse});
    }
  }
  // With one sample the factor's gradient is overwritten, not added to.
  for (const Shape& shape :
       {Shape{6, 5}, Shape{4, 3, 5}, Shape{1, 3, 5, 4}, Shape{2, 17, 3, 2, 3}}) {
    expect_equal_to_portable(norm("x", "y") + scale("y", "y"), {{"x", shape}}, {"y"},
                             {.fuse = true});
  }
}

// Statistics that a BatchNorm may have, and the factor that they are divided by.
void set_running(Layer& layer) {
  for (int k = 0; k < 3; ++k) {
    Buffer& buffer = layer.blobs()[static_cast<size_t>(k)]->data();
    for (int64_t c = 0; c < buffer.count(); ++c) {
      const double value = k == 2 ? 1.9 : k == 1 ? 0.5 + 0.1 * static_cast<double>(c % 7) : 0.2;
      if (buffer.dtype() == DType::kF32) {
        static_cast<float*>(buffer.update())[c] = static_cast<float>(value);
      } else {
        static_cast<double*>(buffer.update())[c] = static_cast<float>(value);
      }
    }
  }
}

TEST(OnednnBatchNorm, UpdatesTheRunningStatistics) {
  const std::string text = kConvolution + norm("x", "x") + scale("x", "x") + relu("x", "x");
  SmallNet net(text, kInput, {.backend = "onednn", .fuse = true});
  SmallNet oracle(text, kInput, {.dtype = DType::kF64});
  for (SmallNet* each : {&net, &oracle}) {
    set_running(each->layer(1));
    each->forward();
    each->forward();
  }
  for (size_t k = 0; k < 3; ++k) {
    expect_near(net.values(net.layer(1).blobs()[k]->data()),
                oracle.values(oracle.layer(1).blobs()[k]->data()), "statistics");
  }
}

TEST(OnednnBatchNorm, WithRunningStatisticsEqualsPortable) {
  for (const bool backward : {false, true}) {
    for (auto [chain, top] : kChains) {
      SCOPED_TRACE(chain + (backward ? " backward" : ""));
      chain.insert(chain.find("batch_norm_param {") + 18, " use_global_stats: true");
      SmallNet net(kConvolution + chain, kInput,
                   {.backend = "onednn", .backward = backward, .fuse = true, .unobserved = true});
      SmallNet oracle(kConvolution + chain, kInput, {.dtype = DType::kF64, .backward = backward});
      for (SmallNet* each : {&net, &oracle}) {
        set_running(each->layer(1));
        each->clear_gradients();
        each->forward();
      }
      expect_near(net.data(top), oracle.data(top), "output");
      if (!backward) continue;
      for (SmallNet* each : {&net, &oracle}) {
        each->set_gradient(top, 4);
        each->backward();
      }
      expect_near(net.gradient("d"), oracle.gradient("d"), "gradient");
    }
  }
}

TEST(OnednnBatchNorm, ConvolutionTakesNormalisationAlongInInference) {
  const std::string text = kConvolution + norm("x", "x") + scale("x", "x") + relu("x", "x");
  SmallNet net(text, kInput, {.backend = "onednn", .phase = TEST, .backward = false, .fuse = true});
  EXPECT_NE(net.implementation(0).details().find("with normalisation"), std::string::npos);
  SmallNet training(text, kInput, {.backend = "onednn", .fuse = true});
  EXPECT_NE(training.implementation(1).details().find("+Scale+ReLU"), std::string::npos);
}

TEST(OnednnBatchNorm, RewindsToItsInput) {
  SmallNet net(kConvolution + norm("x", "x"), kInput, {.backend = "onednn"});
  net.implementation(0).forward();
  const std::vector<double> before = net.data("x");
  net.implementation(1).forward();
  EXPECT_NE(net.data("x"), before);
  EXPECT_TRUE(net.implementation(1).rewind());
  EXPECT_EQ(net.data("x"), before);
}

TEST(OnednnBatchNorm, InPlaceUnderAHeldView) {
  SmallNet net(norm("x", "x"), {{"x", {3, 4, 5, 6}}}, {.backend = "onednn"});
  SmallNet oracle(norm("x", "x"), {{"x", {3, 4, 5, 6}}}, {.dtype = DType::kF64});
  const auto view = net.blob("x").data().pin();
  net.forward();
  oracle.forward();
  const auto* seen = static_cast<const float*>(view->storage->data());
  expect_near(std::vector<double>(seen, seen + net.blob("x").count()), oracle.data("x"), "view");
  for (SmallNet* each : {&net, &oracle}) {
    each->set_gradient("x", 1);
    each->backward();
  }
  expect_near(net.gradient("x"), oracle.gradient("x"), "gradient");
}

TEST(OnednnBatchNorm, RefusesScalesThatAreNotByChannel) {
  EXPECT_EQ(
      refusal(norm("x", "x") + scale("x", "x", "axis: 0"), {{"x", {3, 3, 5, 6}}}, {.fuse = true}),
      "only a Scale with one factor per channel");
}

}  // namespace
}  // namespace caffe::testing

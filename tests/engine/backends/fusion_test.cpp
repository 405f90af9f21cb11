#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include "engine/backends/small_net.h"
#include "net/net.h"

namespace caffe::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::Not;

// Layers 0 x, 1 label, 2 c, 3 n, 4 s, 5 r, 6 e, 7 q, 8 i, 9 l; Splits come in between.
const char* const kNet = R"(
  name: "fused"
  layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 9 dim: 8 } } }
  layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
  layer { name: "c" type: "Convolution" bottom: "x" top: "c"
    convolution_param { num_output: 20 kernel_size: 3 weight_filler { type: "xavier" } } }
  layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
  layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
  layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
  layer { name: "d" type: "Convolution" bottom: "c" top: "d"
    convolution_param { num_output: 20 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "m" type: "BatchNorm" bottom: "d" top: "m" }
  layer { name: "t" type: "Scale" bottom: "m" top: "t" scale_param { bias_term: true } }
  layer { name: "e" type: "Eltwise" bottom: "c" bottom: "t" top: "e" }
  layer { name: "q" type: "ReLU" bottom: "e" top: "q" }
  layer { name: "i" type: "InnerProduct" bottom: "q" top: "i"
    inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
  layer { name: "l" type: "SoftmaxWithLoss" bottom: "i" bottom: "label" top: "l" }
)";

std::unique_ptr<Net> make(bool portable, std::optional<std::vector<std::string>> observed = {},
                          Phase phase = TRAIN) {
  NetParameter param;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kNet, &param));
  NetOptions options;
  options.phase = phase;
  options.forward_only = phase == TEST;
  options.portable_only = portable;
  options.observed = std::move(observed);
  auto net = std::make_unique<Net>(param, options);
  SmallNet::fill(net->blob("x").data(), 1, false);
  for (int i = 0; i < 4; ++i) net->blob("label").update_data<float>()[i] = static_cast<float>(i);
  return net;
}

void expect_same_gradients(Net& net, Net& oracle) {
  for (size_t i = 0; i < net.parameters().size(); ++i) {
    expect_near(SmallNet::values(net.parameters()[i].blob->diff()),
                SmallNet::values(oracle.parameters()[i].blob->diff()),
                "gradient of " + net.parameters()[i].name);
    expect_near(SmallNet::values(net.parameters()[i].blob->data()),
                SmallNet::values(oracle.parameters()[i].blob->data()), net.parameters()[i].name);
  }
}

void clear_run(Net& net) {
  net.clear_parameter_diffs();
  net.forward();
}

TEST(Fusion, NormalisationAndSumsRunAsOne) {
  const auto net = make(false, std::vector<std::string>{});
  const std::string plan = net->plan_text();
  for (const std::string group : {"\nn .BatchNorm.[^\n]* [+] s [+] r\n",
                                  "\nm .BatchNorm.[^\n]* [+] t\n", "\ne .Eltwise.[^\n]* [+] q\n"}) {
    EXPECT_THAT(plan, ContainsRegex(group));
  }
  // Whoever may look at m and e must find them.
  EXPECT_THAT(make(false)->plan_text(), Not(ContainsRegex("\ne .Eltwise.[^\n]* [+] q\n")));
}

TEST(Fusion, SumsRunWithTheConvolutionBeforeThemInInference) {
  EXPECT_THAT(
      make(false, std::vector<std::string>{}, TEST)->plan_text(),
      ContainsRegex("\nd .Convolution.[^\n]*[+]sum[+]ReLU [^\n]* [+] m [+] t [+] e [+] q\n"));
  const auto net = make(false, std::vector<std::string>{}, TEST);
  const auto oracle = make(true, std::nullopt, TEST);
  net->forward();
  oracle->forward();
  expect_near(SmallNet::values(net->blob("l").data()), SmallNet::values(oracle->blob("l").data()),
              "loss");
  for (const std::string observed : {"d", "m", "t", "e"}) {
    const std::string plan = make(false, std::vector<std::string>{observed}, TEST)->plan_text();
    EXPECT_THAT(plan, Not(ContainsRegex("\nd .Convolution.[^\n]*[+] q\n"))) << observed;
  }
}

TEST(Fusion, TrainsAsPortableCodeDoes) {
  for (const bool all : {false, true}) {
    const auto net = make(false, all ? std::nullopt : std::optional(std::vector<std::string>{}));
    const auto oracle = make(true);
    for (int pass = 0; pass < 2; ++pass) {
      for (Net* each : {net.get(), oracle.get()}) {
        clear_run(*each);
        each->backward();
      }
      expect_same_gradients(*net, *oracle);
    }
  }
}

// Every observed blob holds what running the layers one by one gives.
TEST(Fusion, ObservedBlobsAreThemselves) {
  const auto net = make(false);
  const auto oracle = make(true);
  for (Net* each : {net.get(), oracle.get()}) {
    clear_run(*each);
    each->backward();
  }
  for (const std::string& name : oracle->blob_names()) {
    expect_near(SmallNet::values(net->blob(name).data()),
                SmallNet::values(oracle->blob(name).data()), name);
    expect_near(SmallNet::values(net->blob(name).diff()),
                SmallNet::values(oracle->blob(name).diff()), "gradient of " + name);
  }
}

// Backward may stop or go on anywhere, whether forward ran the layers as one or not.
TEST(Fusion, BackwardMayCutWhatForwardRanAsOne) {
  for (const bool all : {false, true}) {
    const auto oracle = make(true);
    clear_run(*oracle);
    oracle->backward();
    const int last = oracle->layer_count() - 1;
    for (int cut = 3; cut < last; ++cut) {
      SCOPED_TRACE(cut);
      const auto net = make(false, all ? std::nullopt : std::optional(std::vector<std::string>{}));
      net->forward(0, 0);  // a net that runs in parts keeps what nobody observes, too
      clear_run(*net);
      net->backward(last, cut);
      net->backward(cut - 1, 0);
      expect_same_gradients(*net, *oracle);
    }
  }
}

TEST(Fusion, ForwardInPartsAndBackwardAsOne) {
  const auto oracle = make(true);
  clear_run(*oracle);
  oracle->backward();
  const int last = oracle->layer_count() - 1;
  for (int cut = 3; cut < last; ++cut) {
    SCOPED_TRACE(cut);
    const auto net = make(false);
    net->clear_parameter_diffs();
    net->forward(0, cut - 1);
    net->forward(cut, last);
    net->backward();
    expect_same_gradients(*net, *oracle);
  }
}

}  // namespace
}  // namespace caffe::testing

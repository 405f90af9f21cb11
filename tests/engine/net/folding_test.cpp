#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "io/prototxt.h"
#include "net/net.h"

// Nets that do not run backward compute BatchNorm and Scale by other weights of the layer before.

namespace caffe {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kInput =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 4 dim: 7 dim: 6 } "
    "} } ";

std::string convolution(const std::string& more) {
  return "layer { name: 'first' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { "
         "num_output: 8 kernel_size: 3 " +
         more + " weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' } } } ";
}

// BatchNorm and Scale from blob `a` to `b` and `c`, and a ReLU in place.
std::string after(const std::string& a, const std::string& b, const std::string& c) {
  return "layer { name: 'bn' type: 'BatchNorm' bottom: '" + a + "' top: '" + b +
         "' } layer { name: 'scale' type: 'Scale' bottom: '" + b + "' top: '" + c +
         "' scale_param { bias_term: true filler { type: 'gaussian' mean: 1 } bias_filler { type: "
         "'gaussian' } } } layer { name: 'relu' type: 'ReLU' bottom: '" +
         c + "' top: '" + c + "' } ";
}

// As in production, or layer by layer, in portable code.
std::unique_ptr<Net> make_net(const std::string& text, bool production, Phase phase = TEST,
                              std::vector<std::string> observed = {}) {
  NetOptions options;
  options.phase = phase;
  options.portable_only = !production;
  if (production) options.observed = std::move(observed);
  return std::make_unique<Net>(parse_net(text, "test.prototxt"), options);
}

void randomise(Blob& blob, uint64_t seed, float least = -1) {
  RandomStream random(random_key(seed, "values"));
  float* data = blob.overwrite_data<float>();
  for (int64_t i = 0; i < blob.count(); ++i) {
    data[i] = least + static_cast<float>(random.uniform()) * (1 - least);
  }
}

// Statistics and input, of which the fillers make nothing.
void randomise(Net& net, uint64_t seed) {
  randomise(net.blob("x"), seed);
  for (const auto& layer : net.layers()) {
    if (layer->type() != "BatchNorm") continue;
    randomise(*layer->blobs()[0], seed + 1);
    randomise(*layer->blobs()[1], seed + 2, 0.1f);
    layer->blobs()[2]->overwrite_data<float>()[0] = 0.5f;
  }
}

std::vector<float> output(Net& net) {
  net.forward();
  const Blob& blob = *net.blobs()[static_cast<size_t>(net.output_blobs()[0])];
  const float* data = blob.data_as<float>();
  return std::vector<float>(data, data + blob.count());
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-5) << i;
}

// Both nets, with the same values, for more than one batch.
void expect_same(const std::string& text) {
  const auto folded = make_net(text, true), whole = make_net(text, false);
  EXPECT_THAT(folded->plan_text(), HasSubstr("folded into the weights"));
  EXPECT_THAT(whole->plan_text(), Not(HasSubstr("folded into the weights")));
  randomise(*folded, 1);
  randomise(*whole, 1);
  expect_near(output(*folded), output(*whole));
  for (Net* net : {folded.get(), whole.get()}) randomise(net->blob("x"), 2);
  expect_near(output(*folded), output(*whole));
}

TEST(Folding, GivesTheSameValues) {
  for (const std::string more : {"", "bias_term: false", "group: 4 pad: 1 stride: 2"}) {
    expect_same(kInput + convolution(more) + after("a", "b", "c"));
    expect_same(kInput + convolution(more) + after("a", "a", "a"));
    expect_same(kInput + convolution(more) + after("a", "b", "b"));
  }
  for (const std::string more : {"", "transpose: true", "bias_term: false"}) {
    expect_same(kInput +
                "layer { name: 'first' type: 'InnerProduct' bottom: 'x' top: 'a' "
                "inner_product_param { num_output: 5 " +
                more + " weight_filler { type: 'xavier' } } } " + after("a", "b", "c"));
  }
  expect_same(kInput +
              "layer { name: 'first' type: 'ConvolutionDepthwise' bottom: 'x' top: 'a' "
              "convolution_param { kernel_size: 3 weight_filler { type: 'xavier' } } } " +
              after("a", "b", "c"));
}

TEST(Folding, IsShownInThePlan) {
  const auto net = make_net(kInput + convolution("") + after("a", "b", "c"), true);
  EXPECT_THAT(net->plan_text(),
              ContainsRegex("\nfirst \\(Convolution\\) +forward +onednn .*, bn, scale folded into "
                            "the weights +2 8 5 4 \\(320\\) +1280 +\\+ bn \\+ scale \\+ relu\n"));
}

TEST(Folding, LeavesObservedBlobsAlone) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  const auto whole = make_net(text, false);
  randomise(*whole, 1);
  const std::vector<float> expected = output(*whole);
  for (const std::string name : {"a", "b"}) {
    const auto net = make_net(text, true, TEST, {name});
    randomise(*net, 1);
    expect_near(output(*net), expected);
    const float* found = net->blob(name).data_as<float>();
    const float* known = whole->blob(name).data_as<float>();
    for (int64_t i = 0; i < net->blob(name).count(); ++i) ASSERT_NEAR(found[i], known[i], 1e-5);
  }
  EXPECT_THAT(make_net(text, true, TEST, {"a"})->plan_text(), Not(HasSubstr("folded")));
  EXPECT_THAT(make_net(text, true, TEST, {"b"})->plan_text(), HasSubstr(" bn folded"));
}

// A Scale whose factors come from a second bottom is a layer of its own, as what goes along with a
// layer knows only parameters.
TEST(Folding, LeavesAScaleOfTwoBottomsAlone) {
  const std::string factors =
      "layer { name: 'f' type: 'Input' top: 'f' input_param { shape { dim: 8 } } } ";
  const std::string norm = "layer { name: 'bn' type: 'BatchNorm' bottom: 'a' top: 'b' } ";
  const std::string pooled =
      "layer { name: 'p' type: 'Pooling' bottom: 'a' top: 'p' pooling_param { kernel_size: 2 } } "
      "layer { name: 'bn' type: 'BatchNorm' bottom: 'p' top: 'b' } ";
  for (const std::string& before : {norm, pooled}) {
    for (const char* bias : {"false", "true"}) {
      const std::string text = kInput + factors + convolution("") + before +
                               "layer { name: 's' type: 'Scale' bottom: 'b' bottom: 'f' top: 's' "
                               "scale_param { bias_term: " +
                               bias + " bias_filler { type: 'gaussian' } } } ";
      const auto net = make_net(text, true), whole = make_net(text, false);
      for (Net* each : {net.get(), whole.get()}) {
        randomise(*each, 1);
        randomise(each->blob("f"), 5);
      }
      expect_near(output(*net), output(*whole));
    }
  }
}

TEST(Folding, IsNotDoneWhereTheStatisticsAreThoseOfTheBatchOrMoreIsRead) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  EXPECT_THAT(make_net(text, true, TRAIN)->plan_text(), Not(HasSubstr("folded")));
  const std::string twice = text + "layer { name: 'other' type: 'TanH' bottom: 'a' top: 'other' } ";
  EXPECT_THAT(make_net(twice, true)->plan_text(), Not(HasSubstr("folded")));
  const std::string elsewhere =
      kInput + convolution("") +
      "layer { name: 's' type: 'Scale' bottom: 'a' top: 'b' scale_param { axis: 2 } } ";
  EXPECT_THAT(make_net(elsewhere, true)->plan_text(), Not(HasSubstr("folded")));
}

TEST(Folding, FollowsValuesThatAreWrittenLater) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  const auto folded = make_net(text, true), whole = make_net(text, false);
  randomise(*folded, 1);
  randomise(*whole, 1);
  expect_near(output(*folded), output(*whole));
  const auto change = [](Net& net, int layer, size_t index) {
    randomise(*net.layers()[static_cast<size_t>(layer)]->blobs()[index], 9, 0.2f);
  };
  const std::vector<std::pair<int, size_t>> all = {{1, 0}, {1, 1}, {2, 0}, {2, 1}, {3, 0}, {3, 1}};
  for (const auto& [layer, index] : all) {
    const std::vector<float> before = output(*whole);
    change(*folded, layer, index);
    change(*whole, layer, index);
    const std::vector<float> now = output(*whole);
    EXPECT_NE(now, before);
    expect_near(output(*folded), now);
  }
}

TEST(Folding, FollowsViews) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  const auto folded = make_net(text, true), whole = make_net(text, false);
  randomise(*folded, 1);
  randomise(*whole, 1);
  const auto pin = folded->layers()[3]->blobs()[0]->data().pin();
  auto* view = static_cast<float*>(pin->storage->data());
  float* plain = whole->layers()[3]->blobs()[0]->update_data<float>();
  for (const float value : {0.25f, -3.0f}) {
    std::fill_n(view, 8, value);
    std::fill_n(plain, 8, value);
    whole->layers()[3]->blobs()[0]->update_data<float>();
    expect_near(output(*folded), output(*whole));
  }
}

TEST(Folding, FollowsModelsAndOtherNetsWeights) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  const auto folded = make_net(text, true), source = make_net(text, false);
  randomise(*folded, 1);
  randomise(*source, 2);
  randomise(*source->layers()[1]->blobs()[0], 3);
  output(*folded);
  folded->copy_trained_from(source->to_proto());
  randomise(folded->blob("x"), 2);
  expect_near(output(*folded), output(*source));

  const auto sharing = make_net(text, true);
  sharing->share_trained_with(*source);
  randomise(sharing->blob("x"), 2);
  expect_near(output(*sharing), output(*source));
  randomise(*source->layers()[1]->blobs()[0], 4);  // as a solver's update would
  expect_near(output(*sharing), output(*source));
}

TEST(Folding, FollowsTheBatchSize) {
  const std::string text = kInput + convolution("") + after("a", "b", "c");
  const auto folded = make_net(text, true), whole = make_net(text, false);
  for (const int64_t batch : {3, 1}) {
    for (Net* net : {folded.get(), whole.get()}) {
      net->blob("x").reshape({batch, 4, 9, 8});
      net->reshape();
      randomise(*net, 1);
    }
    expect_near(output(*folded), output(*whole));
  }
}

TEST(Folding, ComputesInDoubleToo) {
  NetOptions options;
  options.dtype = DType::kF64;
  options.observed.emplace();
  const NetParameter param =
      parse_net(kInput + convolution("") + after("a", "b", "c"), "test.prototxt");
  Net folded(param, options);
  options.portable_only = true;
  Net whole(param, options);
  EXPECT_THAT(folded.plan_text(), HasSubstr("bn, scale folded into the weights"));
  for (Net* net : {&whole, &folded}) {
    double* x = net->blob("x").overwrite_data<double>();
    for (int64_t i = 0; i < net->blob("x").count(); ++i) x[i] = 0.01 * static_cast<double>(i % 37);
    net->forward();
  }
  const double* found = folded.blob("c").data_as<double>();
  const double* expected = whole.blob("c").data_as<double>();
  for (int64_t i = 0; i < whole.blob("c").count(); ++i)
    ASSERT_NEAR(found[i], expected[i], 1e-9 * std::abs(expected[i]));
}

TEST(Removal, LeavesOutWhatChangesNothing) {
  const std::string text = kInput + convolution("") +
                           "layer { name: 'drop' type: 'Dropout' bottom: 'a' top: 'a' } "
                           "layer { name: 'p' type: 'Power' bottom: 'a' top: 'p' } "
                           "layer { name: 'q' type: 'Power' bottom: 'a' top: 'q' } "
                           "layer { name: 'end' type: 'Silence' bottom: 'p' } ";
  const auto net = make_net(text, true);
  for (const std::string line :
       {"drop \\(Dropout\\) +forward +removed", "\\(Split\\) +forward +removed",
        "end \\(Silence\\) +forward +removed"})
    EXPECT_THAT(net->plan_text(), ContainsRegex(line));
  EXPECT_THAT(make_net(text, true, TRAIN)->plan_text(),
              ContainsRegex("drop \\(Dropout\\) +forward +portable"));
  const auto whole = make_net(text, false);
  for (Net* each : {net.get(), whole.get()}) randomise(*each, 1);
  expect_near(output(*net), output(*whole));
}

}  // namespace
}  // namespace caffe

#include "net/net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/prototxt.h"
#include "io/snapshot.h"
#include "support/error_of.h"
#include "support/json.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using testing::error_of;
using testing::JsonValue;
using testing::member;

std::unique_ptr<Net> make_net(const std::string& text, NetOptions options = {}) {
  return std::make_unique<Net>(parse_net(text, "test.prototxt"), options);
}

void fill(Blob& blob, float start, float step) {
  float* data = blob.overwrite_data<float>();
  for (int64_t i = 0; i < blob.count(); ++i) data[i] = start + step * static_cast<float>(i);
}

// What Caffe refuses at construction is refused; what it accepts, accepted.
TEST(NetErrors, AgreeWithCaffe) {
  const std::string path = std::string(CAFFE_SOURCE_DIR) + "/tests/golden/netfeat/errors.json";
  const JsonValue cases = testing::parse_json(testing::read_file(path));
  int checked = 0;
  for (const JsonValue& one : cases.list_value().values()) {
    const std::string name = member(one, "name").string_value();
    const std::string message = error_of([&] {
      auto net = make_net(member(one, "prototxt").string_value());
      net->forward();
    });
    if (message.find("Unknown layer type: ") != std::string::npos && name != "unknown_type")
      continue;
    EXPECT_EQ(!message.empty(), member(one, "fails").bool_value()) << name << ": " << message;
    ++checked;
  }
  EXPECT_GT(checked, 15);
}

TEST(NetErrors, NameTheLayer) {
  const std::string message = error_of([] {
    make_net(
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }"
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' convolution_param { "
        "kernel_size: 3 } }");
  });
  EXPECT_EQ(message.rfind("[layer c (Convolution)]", 0), 0u) << message;
}

TEST(NetErrors, ListTheKnownLayerTypes) {
  const std::string message =
      error_of([] { make_net("layer { name: 'x' type: 'NoSuchLayer' top: 'x' }"); });
  EXPECT_EQ(message.find("Unknown layer type: NoSuchLayer (known types: "), 0u) << message;
}

TEST(NetErrors, RefuseAnInPlaceLayerThatChangesTheShape) {
  const std::string input =
      "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 10 } } }";
  for (const char* layer : {"type: 'Reduction'", "type: 'ArgMax'",
                            "type: 'Embed' embed_param { input_dim: 5 num_output: 3 }"}) {
    const std::string message = error_of(
        [&] { make_net(input + "layer { name: 'l' bottom: 'x' top: 'x' " + layer + " }"); });
    EXPECT_NE(message.find("cannot work in place"), std::string::npos) << layer << message;
  }
  auto net = make_net("force_backward: true " + input +
                      "layer { name: 'l' bottom: 'x' top: 'x' type: 'InnerProduct' "
                      "inner_product_param { num_output: 3 } }");
  net->forward();
  const std::string message = error_of([&] { net->backward(); });
  EXPECT_NE(message.find("cannot work in place"), std::string::npos) << message;
}

const char kShared[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }"
    "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' param { name: 'w' lr_mult: 2 } "
    "param { name: 'b' }"
    "  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } }"
    "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' }"
    "layer { name: 'c' type: 'InnerProduct' bottom: 'a' top: 'c' param { name: 'w' } param { name: "
    "'b' }"
    "  inner_product_param { num_output: 3 } }";

TEST(NetTest, SharedParametersHaveOneOwner) {
  const auto net = make_net(kShared);
  ASSERT_EQ(net->parameters().size(), 2u);
  EXPECT_EQ(net->parameters()[0].name, "w");
  EXPECT_EQ(net->parameters()[0].lr_mult, 2);
  const auto& layers = net->layers();
  EXPECT_EQ(&layers[1]->blobs()[0]->data(), &layers[3]->blobs()[0]->data());
  EXPECT_EQ(&layers[1]->blobs()[0]->diff(), &layers[3]->blobs()[0]->diff());
}

TEST(NetTest, OnlyObservedBlobsCanBeRead) {
  NetOptions options;
  options.observed = std::vector<std::string>{};
  const auto net = make_net(kShared, options);
  EXPECT_NO_THROW(net->blob("x"));
  EXPECT_NO_THROW(net->blob("c"));
  EXPECT_NE(error_of([&] { net->blob("a"); }).find("is not observed"), std::string::npos);
  EXPECT_NE(error_of([&] { net->blob("q"); }).find("it has x, a, c"), std::string::npos);
}

TEST(NetTest, ReshapedInputsReshapeTheNet) {
  const auto net = make_net(kShared);
  net->blob("x").reshape(Shape{5, 3});
  fill(net->blob("x"), -1, 0.1f);
  net->forward();
  EXPECT_EQ(net->blob("c").shape(), (Shape{5, 3}));
}

// A range that ends between a layer and the in-place layer fused with it shows the value in
// between.
TEST(NetTest, RangesThatCutAFusionShowTheValueInBetween) {
  const auto net = make_net(kShared);
  fill(net->blob("x"), -1, 0.3f);
  net->forward(0, 1);
  const Blob& a = net->blob("a");
  const std::vector<float> before(a.data_as<float>(), a.data_as<float>() + a.count());
  net->forward(2, 2);
  bool negative = false;
  for (int64_t i = 0; i < a.count(); ++i) {
    negative |= before[static_cast<size_t>(i)] < 0;
    EXPECT_FLOAT_EQ(a.data_as<float>()[i], std::max(0.f, before[static_cast<size_t>(i)]));
  }
  EXPECT_TRUE(negative) << "the test needs a negative value";
}

TEST(NetTest, VendorAndPortableImplementationsAgree) {
  NetOptions options;
  const auto fast = make_net(kShared, options);
  options.portable_only = true;
  const auto slow = make_net(kShared, options);
  fill(fast->blob("x"), -1, 0.3f);
  fill(slow->blob("x"), -1, 0.3f);
  fast->forward();
  slow->forward();
  for (int64_t i = 0; i < slow->blob("c").count(); ++i) {
    EXPECT_NEAR(fast->blob("c").data_as<float>()[i], slow->blob("c").data_as<float>()[i], 1e-5);
  }
}

TEST(NetTest, WeightsSurviveAProtoRoundTrip) {
  NetOptions options;
  const auto first = make_net(kShared, options);
  options.seed = 99;
  const auto second = make_net(kShared, options);
  const Blob& w = *second->layers()[1]->blobs()[0];
  const float before = w.data_as<float>()[0];
  second->copy_trained_from(first->to_proto());
  EXPECT_NE(w.data_as<float>()[0], before);
  EXPECT_EQ(w.data_as<float>()[0], first->layers()[1]->blobs()[0]->data_as<float>()[0]);
}

TEST(NetTest, WeightsOfAnotherShapeAreRefused) {
  const auto net = make_net(kShared);
  NetParameter trained = net->to_proto();
  trained.mutable_layer(1)->mutable_blobs(0)->mutable_shape()->set_dim(0, 4);
  const std::string message = error_of([&] { net->copy_trained_from(trained); });
  EXPECT_NE(message.find("shape mismatch"), std::string::npos) << message;
  EXPECT_NE(message.find("[layer a (InnerProduct)]"), std::string::npos) << message;
}

// Caffe takes several layers of one name, and layers without one.
TEST(NetTest, NamesakesDrawForThemselvesAndKeepTheirWeights) {
  const std::string text =
      "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }"
      "layer { name: 'f' type: 'InnerProduct' bottom: 'x' top: 'a' inner_product_param {"
      "  num_output: 3 weight_filler { type: 'xavier' } } }"
      "layer { type: 'TanH' bottom: 'a' top: 't' }"
      "layer { name: 'f' type: 'InnerProduct' bottom: 't' top: 'b' inner_product_param {"
      "  num_output: 3 weight_filler { type: 'xavier' } } }"
      "layer { type: 'TanH' bottom: 'b' top: 'y' }";
  NetOptions options;
  const auto first = make_net(text, options);
  const auto weight = [](const Net& net, size_t layer) {
    return net.layers()[layer]->blobs()[0]->data_as<float>()[0];
  };
  EXPECT_NE(weight(*first, 1), weight(*first, 3));
  options.seed = 99;
  const auto second = make_net(text, options);
  EXPECT_NE(weight(*first, 3), weight(*second, 3));
  second->copy_trained_from(first->to_proto());
  EXPECT_EQ(weight(*first, 1), weight(*second, 1));
  EXPECT_EQ(weight(*first, 3), weight(*second, 3));
  const testing::Scratch scratch;
  EXPECT_NE(error_of([&] {
              write_hdf5_model(scratch.path("f.h5"), first->to_proto());
            }).find("'f' names several layers"),
            std::string::npos);
}

std::vector<float> gradient(const Net& net, const std::string& blob) {
  const Blob& found = net.blob(blob);
  return std::vector<float>(found.diff_as<float>(), found.diff_as<float>() + found.count());
}

// As in Caffe a BatchNorm gives its bottom a gradient unasked, and without specs for its statistics
// all above it runs backward. Where nobody can see that, it is not done.
TEST(NetTest, BatchNormRunsBackwardAsInCaffe) {
  const auto text = [](const std::string& specs) {
    return "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 2 } } }"
           "layer { name: 'n' type: 'BatchNorm' bottom: 'x' top: 'a' " +
           specs +
           " }"
           "layer { name: 't' type: 'TanH' bottom: 'a' top: 'b' }"
           "layer { name: 'r' type: 'Reduction' bottom: 'b' top: 'c' loss_weight: 2 "
           "reduction_param { operation: SUMSQ } }";
  };
  NetOptions options;
  options.phase = TRAIN;
  const auto net = make_net(text(""), options);
  fill(net->blob("x"), -1, 0.3f);
  net->forward();
  net->backward();
  EXPECT_THAT(gradient(*net, "b"), ::testing::Contains(::testing::Ne(0.f)));
  EXPECT_THAT(gradient(*net, "x"), ::testing::Contains(::testing::Ne(0.f)));
  const std::string spec = "param { lr_mult: 0 } ";
  const auto specified = make_net(text(spec + spec + spec), options);
  EXPECT_FALSE(specified->needs_backward(1));
  options.observed = std::vector<std::string>{};
  EXPECT_FALSE(make_net(text(""), options)->needs_backward(1));
}

TEST(NetTest, ALayerMayHaveAPhaseOfItsOwn) {
  const auto sum = [](const std::string& phase) {
    const auto net = make_net(
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 999 } } }"
        "layer { name: 'd' type: 'Dropout' bottom: 'x' top: 'y' " +
        phase +
        " }"
        "layer { name: 'r' type: 'Reduction' bottom: 'y' top: 's' }");
    fill(net->blob("x"), 1, 0);
    net->forward();
    return net->blob("s").data_as<float>()[0];
  };
  EXPECT_EQ(sum(""), 999);
  EXPECT_EQ(sum("phase: TEST"), 999);
  EXPECT_NE(sum("phase: TRAIN"), 999);
}

TEST(NetTest, ALossInPlaceCountsOnce) {
  const auto net = make_net(
      "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }"
      "layer { name: 'p' type: 'Power' bottom: 'x' top: 'y' power_param { scale: -2 } }"
      "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' loss_weight: 0.5 }");
  fill(net->blob("x"), 1, -1);
  EXPECT_FLOAT_EQ(static_cast<float>(net->forward()), 0.5f * 2 * (1 + 2 + 3 + 4));
}

TEST(NetTest, TheLevelThatIsAskedForReplacesTheFiles) {
  const std::string text =
      "state { level: 3 }"
      "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }"
      "layer { name: 't' type: 'TanH' bottom: 'x' top: 'y' include { min_level: 2 } }";
  NetOptions options;
  EXPECT_EQ(make_net(text, options)->layer_count(), 2);
  options.level = 0;
  EXPECT_EQ(make_net(text, options)->layer_count(), 1);
}

TEST(NetTest, PlanNamesImplementationsAndReasons) {
  const auto net = make_net(kShared);
  const std::string text = net->plan_text();
  EXPECT_NE(text.find("a (InnerProduct)"), std::string::npos) << text;
  EXPECT_THAT(text, ::testing::ContainsRegex("\nin \\(Input\\) +forward +portable +"));
  EXPECT_NE(text.find("fused"), std::string::npos) << text;
}

}  // namespace
}  // namespace caffe

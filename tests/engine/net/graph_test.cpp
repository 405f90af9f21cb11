#include "net/graph.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "io/prototxt.h"
#include "support/json.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using testing::JsonValue;
using testing::member;

const std::string kFolder = std::string(CAFFE_SOURCE_DIR) + "/tests/golden/netfeat/";

std::vector<std::string> strings(const JsonValue& list) {
  std::vector<std::string> all;
  for (const JsonValue& value : list.list_value().values()) all.push_back(value.string_value());
  return all;
}

std::vector<std::string> layer_names(const NetParameter& net) {
  std::vector<std::string> names;
  for (const LayerParameter& layer : net.layer()) names.push_back(layer.name());
  return names;
}

TEST(FilterLayers, KeepsWhatCaffeKeepsInEveryState) {
  const NetParameter net = read_net(kFolder + "rules.prototxt");
  const JsonValue cases = testing::parse_json(testing::read_file(kFolder + "rules.json"));
  int checked = 0;
  for (const JsonValue& one : cases.list_value().values()) {
    NetParameter stated = net;
    NetState* state = stated.mutable_state();
    state->set_phase(member(one, "phase").string_value() == "TRAIN" ? TRAIN : TEST);
    state->set_level(static_cast<int32_t>(member(one, "level").number_value()));
    for (const std::string& stage : strings(member(one, "stages"))) state->add_stage(stage);
    EXPECT_EQ(layer_names(insert_splits(filter_layers(stated))), strings(member(one, "layers")))
        << state->ShortDebugString();
    ++checked;
  }
  EXPECT_EQ(checked, 30);
}

TEST(FilterLayers, RefusesBothKindsOfRules) {
  LayerParameter layer;
  layer.set_name("x");
  layer.add_include();
  layer.add_exclude();
  EXPECT_THROW(layer_included(layer, NetState()), Error);
}

void expect_structure(const std::string& name) {
  const NetParameter net = insert_splits(filter_layers(read_net(kFolder + name + ".prototxt")));
  const JsonValue expected =
      testing::parse_json(testing::read_file(kFolder + name + ".structure.json"));
  EXPECT_EQ(layer_names(net), strings(member(expected, "layers")));
  const auto& bottoms = member(expected, "bottoms").list_value().values();
  const auto& tops = member(expected, "tops").list_value().values();
  for (int i = 0; i < net.layer_size(); ++i) {
    const LayerParameter& layer = net.layer(i);
    EXPECT_EQ(std::vector<std::string>(layer.bottom().begin(), layer.bottom().end()),
              strings(bottoms[i]));
    EXPECT_EQ(std::vector<std::string>(layer.top().begin(), layer.top().end()), strings(tops[i]));
  }
}

TEST(InsertSplits, GivesEveryReaderItsCopy) { expect_structure("split_basic"); }
TEST(InsertSplits, FollowsTheLastWriterOfAnInPlaceBlob) { expect_structure("split_inplace"); }

TEST(InsertSplits, CountsALossWeightAsAReader) {
  const NetParameter net = parse_net(
      "layer { name: 'in' type: 'Input' top: 'x' }"
      "layer { name: 'sum' type: 'Reduction' bottom: 'x' top: 's' loss_weight: 2 }"
      "layer { name: 'y' type: 'TanH' bottom: 's' top: 'y' }",
      "test");
  const NetParameter split = insert_splits(net);
  ASSERT_EQ(layer_names(split), (std::vector<std::string>{"in", "sum", "s_sum_0_split", "y"}));
  EXPECT_EQ(split.layer(1).loss_weight(0), 0);
  ASSERT_EQ(split.layer(2).loss_weight_size(), 2);
  EXPECT_EQ(split.layer(2).loss_weight(0), 2);
  EXPECT_EQ(split.layer(2).loss_weight(1), 0);
  EXPECT_EQ(split.layer(3).bottom(0), "s_sum_0_split_1");
}

}  // namespace
}  // namespace caffe

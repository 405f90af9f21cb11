#include "net/graph.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"

namespace caffe {
namespace {

bool has_stage(const NetState& state, const std::string& stage) {
  return std::find(state.stage().begin(), state.stage().end(), stage) != state.stage().end();
}

bool meets(const NetState& state, const NetStateRule& rule) {
  if (rule.has_phase() && rule.phase() != state.phase()) return false;
  if (rule.has_min_level() && state.level() < rule.min_level()) return false;
  if (rule.has_max_level() && state.level() > rule.max_level()) return false;
  for (const std::string& stage : rule.stage()) {
    if (!has_stage(state, stage)) return false;
  }
  for (const std::string& stage : rule.not_stage()) {
    if (has_stage(state, stage)) return false;
  }
  return true;
}

using TopKey = std::pair<int, int>;  // layer, top

// Who uses a top, and how many of its uses have been given their own copy.
struct Uses {
  int count = 0;
  int given = 0;
  float loss_weight = 0;
};

std::string split_name(const LayerParameter& layer, int top) {
  return layer.top(top) + "_" + layer.name() + "_" + std::to_string(top) + "_split";
}

std::string split_top(const LayerParameter& layer, int top, int copy) {
  return split_name(layer, top) + "_" + std::to_string(copy);
}

LayerParameter make_split(const LayerParameter& layer, int top, const Uses& uses) {
  LayerParameter split;
  split.set_name(split_name(layer, top));
  split.set_type("Split");
  split.add_bottom(layer.top(top));
  for (int copy = 0; copy < uses.count; ++copy) {
    split.add_top(split_top(layer, top, copy));
    if (uses.loss_weight != 0) split.add_loss_weight(copy == 0 ? uses.loss_weight : 0);
  }
  return split;
}

}  // namespace

bool layer_included(const LayerParameter& layer, const NetState& state) {
  CAFFE_REQUIRE(layer.include_size() == 0 || layer.exclude_size() == 0, "[layer ", layer.name(),
                " (", layer.type(), ")] has both include and exclude rules; use one kind");
  const auto met = [&](const NetStateRule& rule) { return meets(state, rule); };
  if (layer.include_size() > 0)
    return std::any_of(layer.include().begin(), layer.include().end(), met);
  return std::none_of(layer.exclude().begin(), layer.exclude().end(), met);
}

NetParameter filter_layers(const NetParameter& net) {
  NetParameter filtered = net;
  filtered.clear_layer();
  for (const LayerParameter& layer : net.layer()) {
    if (layer_included(layer, net.state())) *filtered.add_layer() = layer;
  }
  return filtered;
}

NetParameter insert_splits(const NetParameter& net) {
  std::map<std::string, TopKey> newest;  // blob name -> its last writer so far
  std::map<TopKey, Uses> uses;
  std::map<TopKey, TopKey> source;  // (layer, bottom) -> the top it reads
  for (int i = 0; i < net.layer_size(); ++i) {
    const LayerParameter& layer = net.layer(i);
    for (int j = 0; j < layer.bottom_size(); ++j) {
      const auto writer = newest.find(layer.bottom(j));
      CAFFE_REQUIRE(writer != newest.end(), "Unknown bottom blob '", layer.bottom(j), "' (layer '",
                    layer.name(), "', bottom index ", j, "): no layer before it has such a top");
      source[{i, j}] = writer->second;
      ++uses[writer->second].count;
    }
    for (int j = 0; j < layer.top_size(); ++j) newest[layer.top(j)] = {i, j};
    for (int j = 0; j < std::min(layer.loss_weight_size(), layer.top_size()); ++j) {
      if (layer.loss_weight(j) == 0) continue;
      Uses& use = uses[{i, j}];
      use.loss_weight = layer.loss_weight(j);
      ++use.count;  // the loss reads the first copy
      ++use.given;
    }
  }
  NetParameter out = net;
  out.clear_layer();
  for (int i = 0; i < net.layer_size(); ++i) {
    LayerParameter* layer = out.add_layer();
    *layer = net.layer(i);
    for (int j = 0; j < layer->bottom_size(); ++j) {
      const TopKey key = source.at({i, j});
      Uses& use = uses.at(key);
      if (use.count > 1)
        layer->set_bottom(j, split_top(net.layer(key.first), key.second, use.given++));
    }
    for (int j = 0; j < net.layer(i).top_size(); ++j) {
      const auto use = uses.find({i, j});
      if (use == uses.end() || use->second.count < 2) continue;
      *out.add_layer() = make_split(net.layer(i), j, use->second);
      if (use->second.loss_weight != 0) layer->set_loss_weight(j, 0);
    }
  }
  return out;
}

}  // namespace caffe

#include "net/net_builder.h"

#include <algorithm>

#include "core/log.h"
#include "core/memory.h"

namespace caffe {
namespace {

std::string describe(const Arity& arity) {
  if (arity.least == arity.most) return concat("exactly ", arity.least);
  if (arity.most < 0) return concat("at least ", arity.least);
  return concat(arity.least, " to ", arity.most);
}

void check_arity(const char* kind, const Arity& arity, size_t found) {
  const int n = static_cast<int>(found);
  CAFFE_REQUIRE(n >= arity.least && (arity.most < 0 || n <= arity.most), "takes ", describe(arity),
                " ", kind, " blob(s), but the prototxt gives ", n);
}

}  // namespace

Blobs blobs_at(const std::vector<std::shared_ptr<Blob>>& blobs, const std::vector<int>& ids) {
  Blobs chosen;
  for (const int id : ids) chosen.push_back(blobs[static_cast<size_t>(id)].get());
  return chosen;
}

void NetBuilder::build() {
  const size_t count = static_cast<size_t>(net_.param_.layer_size());
  net_.bottom_ids_.resize(count);
  net_.top_ids_.resize(count);
  net_.propagate_down_.resize(count);
  net_.needs_backward_.resize(count);
  for (int i = 0; i < static_cast<int>(count); ++i) add_layer(i);
  prune_backward();
  if (net_.param_.force_backward()) force_backward();
  set_outputs();
}

void NetBuilder::add_layer(int index) {
  LayerParameter* param = net_.param_.mutable_layer(index);
  if (!param->has_phase()) param->set_phase(net_.phase());
  net_.layers_.push_back(create_layer(*param, net_.context_));
  Layer& layer = *net_.layers_.back();
  with_label(layer, [&] {
    std::vector<int>& namesakes = net_.layer_index_[param->name()];
    if (!namesakes.empty()) CAFFE_LOG_WARNING(layer.label(), " is not the only layer of this name");
    layer.set_namesakes(static_cast<int>(namesakes.size()));
    namesakes.push_back(index);
    CAFFE_REQUIRE(
        param->propagate_down_size() == 0 || param->propagate_down_size() == param->bottom_size(),
        "propagate_down must be given for each of the ", param->bottom_size(),
        " bottoms or not at all, not ", param->propagate_down_size(), " times");
    bool backward = false;
    for (int j = 0; j < param->bottom_size(); ++j) backward |= connect_bottom(index, j);
    for (int j = 0; j < param->top_size(); ++j) connect_top(index, j);
    connect_automatic_tops(index);
    set_up_layer(index);
    backward |= add_parameters(index);
    net_.needs_backward_[static_cast<size_t>(index)] = backward;
    for (const int id : net_.top_ids(index))
      blob_needs_backward_[static_cast<size_t>(id)] = backward;
  });
}

bool NetBuilder::connect_bottom(int layer, int bottom) {
  const LayerParameter& param = net_.param_.layer(layer);
  const std::string& name = param.bottom(bottom);
  const auto blob = net_.blob_index_.find(name);
  CAFFE_REQUIRE(blob != net_.blob_index_.end() && unread_.count(name) > 0, "Unknown bottom blob '",
                name, "': no layer before it has such a top");
  unread_.erase(name);
  const bool backward = blob_needs_backward_[static_cast<size_t>(blob->second)];
  net_.bottom_ids_[static_cast<size_t>(layer)].push_back(blob->second);
  net_.propagate_down_[static_cast<size_t>(layer)].push_back(
      param.propagate_down_size() > 0 ? param.propagate_down(bottom) : backward);
  return backward;
}

void NetBuilder::connect_top(int layer, int top) {
  const LayerParameter& param = net_.param_.layer(layer);
  const std::string& name = param.top(top);
  const auto existing = net_.blob_index_.find(name);
  int id = 0;
  if (existing != net_.blob_index_.end()) {
    const bool in_place = top < param.bottom_size() && param.bottom(top) == name;
    CAFFE_REQUIRE(in_place, "Top blob '", name,
                  "' produced by multiple sources; give one of them another name");
    id = existing->second;
  } else {
    id = add_blob(name);
    if (param.type() == "Input") net_.input_blobs_.push_back(id);
  }
  net_.top_ids_[static_cast<size_t>(layer)].push_back(id);
  unread_.insert(name);
}

void NetBuilder::connect_automatic_tops(int layer) {
  const int wanted = net_.layers_[static_cast<size_t>(layer)]->automatic_tops();
  std::vector<int>& tops = net_.top_ids_[static_cast<size_t>(layer)];
  while (static_cast<int>(tops.size()) < wanted) tops.push_back(add_blob("(automatic)"));
}

int NetBuilder::add_blob(const std::string& name) {
  const int id = static_cast<int>(net_.blobs_.size());
  net_.blobs_.push_back(std::make_shared<Blob>(net_.context_.dtype));
  net_.blob_names_.push_back(name);
  net_.blob_index_.emplace(name, id);
  net_.loss_weights_.push_back(0);
  blob_needs_backward_.push_back(false);
  return id;
}

void NetBuilder::set_up_layer(int index) {
  Layer& layer = *net_.layers_[static_cast<size_t>(index)];
  const Blobs bottom = blobs_at(net_.blobs_, net_.bottom_ids(index));
  const Blobs top = blobs_at(net_.blobs_, net_.top_ids(index));
  check_arity("bottom", layer.bottoms(), bottom.size());
  check_arity("top", layer.tops(), top.size());
  CAFFE_REQUIRE(!layer.equal_bottoms_and_tops() || bottom.size() == top.size(),
                "needs as many tops as bottoms, not ", top.size(), " for ", bottom.size());
  layer.set_up(bottom, top);
  const LayerParameter& param = net_.param_.layer(index);
  CAFFE_REQUIRE(
      param.blobs_size() == 0 || param.blobs_size() == static_cast<int>(layer.blobs().size()),
      "has ", layer.blobs().size(), " parameter blobs, but the prototxt gives ",
      param.blobs_size());
  std::vector<Shape> before;
  for (const Blob* blob : bottom) before.push_back(blob->shape());
  layer.reshape(bottom, top);
  for (size_t j = 0; j < top.size(); ++j) require_countable(top[j]->shape(), concat("top ", j));
  for (size_t j = 0; j < bottom.size(); ++j) {
    // Caffe runs an InnerProduct like this forward; asking for its gradient is the error then.
    const bool in_place =
        std::find(top.begin(), top.end(), bottom[j]) != top.end() && layer.type() != "InnerProduct";
    CAFFE_REQUIRE(!in_place || bottom[j]->shape() == before[j], "cannot work in place: it makes ",
                  bottom[j]->shape().str(), " of ", before[j].str(),
                  "; give its top a name of its own");
  }
  set_loss_weights(index);
}

void NetBuilder::set_loss_weights(int index) {
  const Layer& layer = *net_.layers_[static_cast<size_t>(index)];
  const LayerParameter& param = net_.param_.layer(index);
  const std::vector<int>& tops = net_.top_ids(index);
  const int given = param.loss_weight_size();
  CAFFE_REQUIRE(given == 0 || given == static_cast<int>(tops.size()),
                "loss_weight must be given for each of the ", tops.size(),
                " tops or not at all, not ", given, " times");
  for (size_t j = 0; j < tops.size(); ++j) {
    const int k = static_cast<int>(j);
    const float weight = given > 0 ? param.loss_weight(k) : layer.default_loss_weight(k);
    if (weight != 0) net_.loss_weights_[static_cast<size_t>(tops[j])] = weight;
  }
}

bool NetBuilder::add_parameters(int index) {
  Layer& layer = *net_.layers_[static_cast<size_t>(index)];
  const LayerParameter& param = layer.param();  // the layer may have changed its specs (BatchNorm)
  const int count = static_cast<int>(layer.blobs().size());
  CAFFE_REQUIRE(param.param_size() <= count, "Too many params specified: ", param.param_size(),
                " for ", count, " parameter blobs");
  std::vector<bool> learns;
  for (int i = 0; i < count; ++i) {
    const ParamSpec& spec = i < param.param_size() ? param.param(i) : ParamSpec::default_instance();
    learns.push_back(spec.lr_mult() != 0);
    add_parameter(index, i, spec);
  }
  layer.set_learns(learns);
  if (std::find(learns.begin(), learns.end(), true) != learns.end()) return true;
  // Where a BatchNorm comes without specs, Caffe takes its statistics for learned here, and goes
  // backward through all above.
  return all_observed_ && count > net_.param_.layer(index).param_size();
}

void NetBuilder::add_parameter(int layer, int index, const ParamSpec& spec) {
  const auto named =
      spec.name().empty() ? named_parameters_.end() : named_parameters_.find(spec.name());
  if (named != named_parameters_.end()) {
    share_parameter(layer, index, spec, named->second);
    return;
  }
  Net::Parameter parameter;
  parameter.blob = net_.layers_[static_cast<size_t>(layer)]->blobs()[static_cast<size_t>(index)];
  parameter.layer = layer;
  parameter.index = index;
  parameter.lr_mult = spec.lr_mult();
  parameter.decay_mult = spec.decay_mult();
  parameter.name = spec.name().empty() ? net_.layers_[static_cast<size_t>(layer)]->name() + "/" +
                                             std::to_string(index)
                                       : spec.name();
  if (!spec.name().empty())
    named_parameters_[spec.name()] = static_cast<int>(net_.parameters_.size());
  net_.parameters_.push_back(parameter);
  has_lr_mult_.push_back(spec.has_lr_mult());
  has_decay_mult_.push_back(spec.has_decay_mult());
}

void NetBuilder::share_parameter(int layer, int index, const ParamSpec& spec, int owner) {
  Net::Parameter& parameter = net_.parameters_[static_cast<size_t>(owner)];
  Blob& mine = *net_.layers_[static_cast<size_t>(layer)]->blobs()[static_cast<size_t>(index)];
  const std::string& owner_name = net_.layers_[static_cast<size_t>(parameter.layer)]->name();
  if (spec.share_mode() == ParamSpec::PERMISSIVE) {
    CAFFE_REQUIRE(mine.count() == parameter.blob->count(), "Cannot share param '", spec.name(),
                  "' owned by layer '", owner_name,
                  "'; count mismatch. Owner layer param shape is ", parameter.blob->shape().str(),
                  "; this layer's is ", mine.shape().str());
  } else {
    CAFFE_REQUIRE(mine.shape() == parameter.blob->shape(), "Cannot share param '", spec.name(),
                  "' owned by layer '", owner_name,
                  "'; shape mismatch. Owner layer param shape is ", parameter.blob->shape().str(),
                  "; this layer expects ", mine.shape().str());
  }
  mine.share_data(*parameter.blob);
  mine.share_diff(*parameter.blob);
  const auto agree = [&](bool given, float value, std::vector<bool>& known, float& mult,
                         const char* what) {
    if (!given) return;
    const size_t i = static_cast<size_t>(owner);
    CAFFE_REQUIRE(!known[i] || mult == value, "Shared param '", spec.name(), "' has mismatched ",
                  what, ": ", value, " here, ", mult, " in layer '", owner_name, "'");
    known[i] = true;
    mult = value;
  };
  agree(spec.has_lr_mult(), spec.lr_mult(), has_lr_mult_, parameter.lr_mult, "lr_mult");
  agree(spec.has_decay_mult(), spec.decay_mult(), has_decay_mult_, parameter.decay_mult,
        "decay_mult");
}

// A layer runs backward only if it leads to a loss, and if somebody after it hands a gradient down.
void NetBuilder::prune_backward() {
  std::set<std::string> under_loss;
  std::set<std::string> skipped;
  for (int i = net_.layer_count() - 1; i >= 0; --i) {
    const size_t layer = static_cast<size_t>(i);
    bool contributes = false;
    bool skip = true;
    for (const int top : net_.top_ids(i)) {
      const std::string& name = net_.blob_names_[static_cast<size_t>(top)];
      contributes |= net_.loss_weight(top) != 0 || under_loss.count(name) > 0;
      skip &= skipped.count(name) > 0;
    }
    std::vector<bool>& down = net_.propagate_down_[layer];
    if (!contributes || (net_.needs_backward_[layer] && skip)) {
      net_.needs_backward_[layer] = false;
      std::fill(down.begin(), down.end(), false);
    }
    for (size_t j = 0; j < down.size(); ++j) {
      const std::string& name = net_.blob_names_[static_cast<size_t>(net_.bottom_ids(i)[j])];
      if (contributes) under_loss.insert(name);
      if (!down[j]) skipped.insert(name);
    }
    CAFFE_LOG_INFO(net_.layers_[layer]->name(),
                   net_.needs_backward_[layer] ? " needs" : " does not need",
                   " backward computation.");
  }
}

void NetBuilder::force_backward() {
  for (int i = 0; i < net_.layer_count(); ++i) {
    const size_t layer = static_cast<size_t>(i);
    net_.needs_backward_[layer] = true;
    for (size_t j = 0; j < net_.propagate_down_[layer].size(); ++j) {
      if (net_.layers_[layer]->allow_force_backward(static_cast<int>(j)))
        net_.propagate_down_[layer][j] = true;
    }
    net_.layers_[layer]->set_learns({});
  }
}

void NetBuilder::set_outputs() {
  for (const std::string& name : unread_) {
    net_.output_blobs_.push_back(net_.blob_index_.at(name));
    CAFFE_LOG_INFO("This network produces output ", name);
  }
}

}  // namespace caffe

#include "net/plan/folding.h"

#include <cmath>

namespace caffe {
namespace {

// Whether the layer makes one output channel, on axis 1, of each row (or column) of its weights.
bool has_weights_per_channel(const Operation& operation) {
  if (operation.backward || operation.bottom.size() != 1 || operation.top.size() != 1) return false;
  const Shape& in = operation.bottom[0]->shape();
  const std::string& type = operation.layer->type();
  if (type == "InnerProduct") {
    return in.canonical_axis(operation.param().inner_product_param().axis()) == 1;
  }
  return (type == "Convolution" || type == "ConvolutionDepthwise" ||
          type == "DepthwiseConvolution") &&
         in.canonical_axis(operation.param().convolution_param().axis()) == 1;
}

// Whether the layer does to each channel what it has one constant each for.
bool is_affine_per_channel(const Operation& operation) {
  if (operation.backward || operation.bottom.size() != 1 || operation.top.size() != 1) return false;
  const Layer& layer = *operation.layer;
  const Shape& in = operation.bottom[0]->shape();
  if (in.axes() < 2) return false;
  if (layer.type() == "BatchNorm") {
    const BatchNormParameter& p = layer.param().batch_norm_param();
    return p.has_use_global_stats() ? p.use_global_stats() : !layer.training();
  }
  return layer.type() == "Scale" && layer.blobs()[0]->shape() == Shape{in[1]} &&
         in.canonical_axis(layer.param().scale_param().axis()) == 1;
}

// The head's parameters, with a bias, and without fillers, whose work would be lost.
LayerParameter parameter_of_folded(const LayerParameter& head) {
  LayerParameter param = head;
  param.clear_blobs();
  param.clear_param();
  if (param.has_inner_product_param()) {
    param.mutable_inner_product_param()->set_bias_term(true);
    param.mutable_inner_product_param()->clear_weight_filler();
    param.mutable_inner_product_param()->clear_bias_filler();
  } else {
    param.mutable_convolution_param()->set_bias_term(true);
    param.mutable_convolution_param()->clear_weight_filler();
    param.mutable_convolution_param()->clear_bias_filler();
  }
  return param;
}

// y = factor x + term, for one channel.
struct Affine {
  double factor = 1;
  double term = 0;
  void then(double next_factor, double next_term) {
    factor *= next_factor;
    term = term * next_factor + next_term;
  }
};

template <typename T>
void append(const Layer& layer, std::vector<Affine>* channels) {
  const T* first = layer.blobs()[0]->data_as<T>();
  if (layer.type() == "Scale") {
    const bool bias = layer.blobs().size() > 1;
    const T* term = bias ? layer.blobs()[1]->data_as<T>() : nullptr;
    for (size_t c = 0; c < channels->size(); ++c) {
      (*channels)[c].then(static_cast<double>(first[c]), bias ? static_cast<double>(term[c]) : 0);
    }
    return;
  }
  const T* variance = layer.blobs()[1]->data_as<T>();
  const auto sums = static_cast<double>(layer.blobs()[2]->data_as<T>()[0]);
  const double share = sums == 0 ? 0 : 1 / sums;
  const double eps = layer.param().batch_norm_param().eps();
  for (size_t c = 0; c < channels->size(); ++c) {
    const double inverse = 1 / std::sqrt(static_cast<double>(variance[c]) * share + eps);
    (*channels)[c].then(inverse, -static_cast<double>(first[c]) * share * inverse);
  }
}

class Nothing : public Implementation {
 public:
  void forward() override {}
  void backward() override {}
  BufferUses forward_uses() const override { return {}; }
  BufferUses backward_uses() const override { return {}; }
  std::string name() const override { return "removed"; }
  std::string details() const override { return "changes nothing"; }
};

}  // namespace

// Runs the folded layer, after a look whether its weights are up to date.
class Folding::WithCurrentWeights : public Implementation {
 public:
  WithCurrentWeights(std::unique_ptr<Folding> folding, std::unique_ptr<Implementation> inner)
      : folding_(std::move(folding)), inner_(std::move(inner)) {}

  void forward() override {
    folding_->update();
    inner_->forward();
  }
  void backward() override {}
  // Not the folded parameters, which stay from one pass to the next.
  BufferUses forward_uses() const override {
    BufferUses uses = inner_->forward_uses();
    for (const auto& parameter : folding_->layer_->blobs())
      std::erase_if(uses, [&](const BufferUse& use) { return use.buffer == &parameter->data(); });
    return uses;
  }
  BufferUses backward_uses() const override { return {}; }
  std::string name() const override { return inner_->name(); }
  std::string details() const override {
    std::string names;
    for (const Layer* layer : folding_->folded_)
      names += (names.empty() ? "" : ", ") + layer->name();
    return inner_->details() + ", " + names + " folded into the weights";
  }

 private:
  std::unique_ptr<Folding> folding_;
  std::unique_ptr<Implementation> inner_;
};

std::unique_ptr<Folding> Folding::find(const std::vector<Operation>& operations, size_t index) {
  const Operation& head = operations[index];
  if (!has_weights_per_channel(head)) return nullptr;
  std::vector<Layer*> folded;
  const Operation* last = &head;
  for (size_t i = index + 1; i < operations.size(); ++i) {
    const Operation& next = operations[i];
    if (!is_affine_per_channel(next) || next.bottom[0] != last->top[0]) break;
    if (next.top[0] != last->top[0] && last->top_observed(0)) break;
    folded.push_back(next.layer);
    last = &next;
  }
  if (folded.empty()) return nullptr;
  return std::unique_ptr<Folding>(new Folding(head, std::move(folded), *last));
}

Folding::Folding(const Operation& head, std::vector<Layer*> folded, const Operation& last)
    : original_(*head.layer),
      folded_(std::move(folded)),
      layer_(create_layer(parameter_of_folded(head.param()), head.layer->context())),
      operation_(head) {
  operation_.layer = layer_.get();
  operation_.top = last.top;
  operation_.observed = last.observed;
  layer_->set_up(operation_.bottom, operation_.top);
  layer_->reshape(operation_.bottom, operation_.top);
  const auto watch = [&](const Layer& layer) {
    // One before the present version, so that the first pass writes the weights.
    for (const auto& blob : layer.blobs())
      sources_.emplace_back(blob->data_buffer(), blob->data().version() - 1);
  };
  watch(original_);
  for (const Layer* layer : folded_) watch(*layer);
}

std::unique_ptr<Implementation> Folding::wrap(std::unique_ptr<Folding> folding,
                                              std::unique_ptr<Implementation> inner) {
  return std::make_unique<WithCurrentWeights>(std::move(folding), std::move(inner));
}

void Folding::update() {
  bool current = true;
  for (auto& [buffer, version] : sources_) {
    current &= buffer->version() == version;
    version = buffer->version();
  }
  if (current) return;
  if (layer_->context().dtype == DType::kF32) {
    write_weights<float>();
  } else {
    write_weights<double>();
  }
}

template <typename T>
void Folding::write_weights() {
  Blob& bias = *layer_->blobs()[1];
  std::vector<Affine> channels(static_cast<size_t>(bias.count()));
  if (original_.blobs().size() > 1) {
    const T* term = original_.blobs()[1]->data_as<T>();
    for (size_t c = 0; c < channels.size(); ++c) channels[c].term = static_cast<double>(term[c]);
  }
  for (const Layer* layer : folded_) append<T>(*layer, &channels);
  const Blob& from = *original_.blobs()[0];
  const T* weights = from.data_as<T>();
  T* folded = layer_->blobs()[0]->overwrite_data<T>();
  const auto outputs = static_cast<int64_t>(channels.size());
  const bool columns =
      original_.type() == "InnerProduct" && original_.param().inner_product_param().transpose();
  const int64_t inner = columns ? 1 : from.count() / outputs;
  for (int64_t i = 0; i < from.count(); ++i) {
    const Affine& channel = channels[static_cast<size_t>(i / inner % outputs)];
    folded[i] = static_cast<T>(static_cast<double>(weights[i]) * channel.factor);
  }
  T* terms = bias.overwrite_data<T>();
  for (size_t c = 0; c < channels.size(); ++c) terms[c] = static_cast<T>(channels[c].term);
}

bool does_nothing(const Operation& operation) {
  if (operation.backward) return false;
  const std::string& type = operation.layer->type();
  if (type == "Split" || type == "Silence") return true;
  return type == "Dropout" && !operation.layer->training() &&
         operation.top[0] == operation.bottom[0];
}

std::unique_ptr<Implementation> make_nothing() { return std::make_unique<Nothing>(); }

}  // namespace caffe

#include "solvers/parameter_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/log.h"
#include "core/memory.h"
#include "kernels/reduce.h"

namespace caffe {
namespace {

// A bucket must be large enough that its bytes, and not the messages' latency, are what takes time,
// and small enough that sums begin early and the last one is short.
constexpr int64_t kFirstBucket = (1 << 20) / sizeof(float);
constexpr int64_t kBucket = (8 << 20) / sizeof(float);
constexpr int64_t kSmallestBucket = (128 << 10) / sizeof(float);
// Parameters up to this size are not divided.
constexpr int64_t kWhole = (4 << 20) / sizeof(float);
constexpr int64_t kLine = 64 / sizeof(float);  // what vector instructions like to start at

// Elements of a representation.
int64_t elements_of(const Buffer& buffer, const LayoutPtr& layout) {
  return layout ? static_cast<int64_t>(layout->bytes() / sizeof(float)) : buffer.count();
}

}  // namespace

ParameterUpdate::ParameterUpdate(const SolverParameter& param, const UpdateRule& rule, Net& net,
                                 const std::vector<std::shared_ptr<Blob>>& history)
    : param_(param), rule_(rule), net_(net), history_(history) {}

void ParameterUpdate::set_exchange(Exchange* exchange, bool plain_wire) {
  exchange_ = exchange;
  plain_wire_ = plain_wire;
  bound_plan_ = -1;
}

// ---- memory and buckets, made anew with each plan of the net ----

void ParameterUpdate::bind() {
  if (bound_plan_ == net_.plan_generation()) return;
  learned_.clear();
  frozen_.clear();
  for (size_t i = 0; i < net_.parameters().size(); ++i) {
    (net_.parameters()[i].lr_mult != 0 ? learned_ : frozen_).push_back(bind_parameter(i));
  }
  // Of the layers that share a parameter its owner is the lowest, so backward ends with it.
  std::stable_sort(learned_.begin(), learned_.end(), [](const Learned& a, const Learned& b) {
    return a.parameter->layer > b.parameter->layer;
  });
  if (exchange_) lay_wire();
  cut();
  bound_plan_ = net_.plan_generation();
}

ParameterUpdate::Learned ParameterUpdate::bind_parameter(size_t index) {
  const Net::Parameter& parameter = net_.parameters()[index];
  Learned learned;
  learned.parameter = &parameter;
  Buffer& data = parameter.blob->data();
  learned.data_index = plain_wire_ ? 0 : data.master();
  const LayoutPtr& layout = data.layout(learned.data_index);
  learned.diff_index = parameter.blob->diff().representation(layout);
  for (int kind = 0; kind < rule_.histories(); ++kind) {
    Buffer& history =
        history_[static_cast<size_t>(kind) * net_.parameters().size() + index]->data();
    learned.history.push_back(&history);
    learned.history_index.push_back(history.representation(layout));
  }
  learned.elements = elements_of(data, layout);
  return learned;
}

void ParameterUpdate::lay_wire() {
  int64_t total = 1;  // the loss
  for (const Learned& learned : learned_) total += round_up(learned.elements, kLine);
  // The old piece lives until every gradient has moved out of it.
  auto wire = std::make_unique<Storage>(static_cast<size_t>(total) * sizeof(float));
  float* next = static_cast<float*>(wire->data());
  std::fill_n(next, total, 0.0f);
  for (Learned& learned : learned_) {
    learned.wire = next;
    Buffer& diff = learned.parameter->blob->diff();
    if (learned.diff_index != 0 || !diff.pinned()) diff.bind(learned.diff_index, next);
    next += round_up(learned.elements, kLine);
  }
  loss_ = next;
  wire_ = std::move(wire);
}

void ParameterUpdate::cut() {
  buckets_.clear();
  int64_t total = 0;
  for (const Learned& learned : learned_) total += learned.elements;
  const int64_t usual = std::clamp(total / 4, kSmallestBucket, kBucket);
  int64_t target = std::min(usual, kFirstBucket), filled = 0;
  buckets_.emplace_back();
  for (size_t i = 0; i < learned_.size(); ++i) {
    for (int64_t offset = 0; offset < learned_[i].elements;) {
      if (filled >= target) {
        buckets_.emplace_back();
        target = usual;
        filled = 0;
      }
      const int64_t left = learned_[i].elements - offset;
      const bool whole = left <= std::max(kWhole, 2 * target - filled);
      const int64_t count = whole ? left : round_up(target - filled, kLine);
      add_segment({i, offset, count});
      offset += count;
      filled += count;
    }
  }
  // The loss lies right behind the last parameter; rounded it would tell little.
  if (exchange_ && !exchange_->rounds()) {
    Bucket& last = buckets_.back();
    if (!last.begin) last.begin = loss_;
    last.count = static_cast<size_t>(loss_ + 1 - last.begin);
  }
}

void ParameterUpdate::add_segment(const Segment& segment) {
  Bucket& bucket = buckets_.back();
  const Learned& learned = learned_[segment.learned];
  bucket.layer = learned.parameter->layer;
  bucket.segments.push_back(segment);
  if (!exchange_) return;
  if (!bucket.begin) bucket.begin = learned.wire + segment.offset;
  bucket.count = static_cast<size_t>(learned.wire + segment.offset + segment.count - bucket.begin);
}

// ---- an iteration ----

// Whether somebody outside holds views of parameters, or sees them between layers.
bool ParameterUpdate::watched() const {
  return net_.runs_layer_by_layer() ||
         std::any_of(learned_.begin(), learned_.end(), [](const Learned& learned) {
           const Blob& blob = *learned.parameter->blob;
           return blob.data().pinned() || blob.diff().pinned();
         });
}

void ParameterUpdate::begin(const Step& step, double loss) {
  bind();
  step_ = step;
  overlaps_ = !watched();
  early_ = overlaps_ && step.early && !clips();
  scale_ = 1.0f / static_cast<float>(param_.iter_size());
  if (exchange_) scale_ = 1.0f / static_cast<float>(exchange_->world()) / param_.iter_size();
  started_ = arrived_ = updated_ = 0;
  own_loss_ = loss;
  trim();
  if (!exchange_) return;
  *loss_ = static_cast<float>(loss);
  if (exchange_->rounds()) loss_sum_ = exchange_->start_sum(loss_, 1);
}

void ParameterUpdate::reached(int layer) {
  if (!overlaps_) return;
  start_buckets(layer);
  absorb(false);
  if (early_) update_arrived();
}

double ParameterUpdate::collect() {
  start_buckets(0);
  // Those that have arrived are updated while the others travel.
  while (arrived_ < buckets_.size()) {
    absorb(true);
    if (early_) update_arrived();
  }
  if (!exchange_) return own_loss_;
  if (exchange_->rounds()) exchange_->wait(loss_sum_);
  return static_cast<double>(*loss_) / exchange_->world();
}

void ParameterUpdate::finish() {
  if (clips()) clip();
  update_arrived();
  update_frozen();
}

// Weights came in plain order; the pass forward that has just ended has them in the one in which
// they stay. A history comes so, too, if it was restored.
void ParameterUpdate::trim() {
  if (trimmed_plan_ == bound_plan_) return;
  const auto keep_one = [](Buffer& buffer, int index) {
    if (buffer.pinned()) return;
    buffer.update(index);
    buffer.trim();
  };
  for (const Learned& learned : learned_) {
    keep_one(learned.parameter->blob->data(), learned.data_index);
    for (size_t k = 0; k < learned.history.size(); ++k) {
      if (!learned.history[k]->is_zero()) keep_one(*learned.history[k], learned.history_index[k]);
    }
  }
  trimmed_plan_ = bound_plan_;
}

void ParameterUpdate::apply(const Step& step) {
  bind();
  step_ = step;
  scale_ = 1.0f / static_cast<float>(param_.iter_size());
  if (exchange_) scale_ = 1.0f / static_cast<float>(exchange_->world()) / param_.iter_size();
  started_ = arrived_ = buckets_.size();
  updated_ = 0;
  finish();
}

void ParameterUpdate::start_buckets(int layer) {
  for (; started_ < buckets_.size() && buckets_[started_].layer >= layer; ++started_) {
    if (exchange_) start(buckets_[started_]);
  }
}

void ParameterUpdate::start(Bucket& bucket) {
  for (const Segment& segment : bucket.segments) {
    const Learned& learned = learned_[segment.learned];
    const auto* gradient =
        static_cast<const float*>(learned.parameter->blob->diff().read(learned.diff_index));
    if (gradient == learned.wire) continue;
    std::memcpy(learned.wire + segment.offset, gradient + segment.offset,
                static_cast<size_t>(segment.count) * sizeof(float));
  }
  bucket.sum = exchange_->start_sum(bucket.begin, bucket.count);
}

// Takes over the sums that have arrived; with patience, waits for the next one if none has.
void ParameterUpdate::absorb(bool patient) {
  for (; arrived_ < started_; ++arrived_) {
    const Bucket& bucket = buckets_[arrived_];
    if (!exchange_) continue;
    if (!exchange_->done(bucket.sum)) {
      if (!patient) return;
      exchange_->wait(bucket.sum);
    }
    patient = false;
    take_back(bucket);
  }
}

void ParameterUpdate::take_back(const Bucket& bucket) {
  for (const Segment& segment : bucket.segments) {
    const Learned& learned = learned_[segment.learned];
    auto* gradient = static_cast<float*>(learned.parameter->blob->diff().write(learned.diff_index));
    if (gradient == learned.wire) continue;
    std::memcpy(gradient + segment.offset, learned.wire + segment.offset,
                static_cast<size_t>(segment.count) * sizeof(float));
  }
}

// ---- the update ----

void ParameterUpdate::update_arrived() {
  for (; updated_ < arrived_; ++updated_) {
    for (const Segment& segment : buckets_[updated_].segments)
      update_range(learned_[segment.learned], segment.offset, segment.count);
  }
}

// The same for parameters of lr_mult 0, as Caffe does it: their weights stay, but their history is
// part of the solver's state.
void ParameterUpdate::update_frozen() {
  for (const Learned& frozen : frozen_) {
    if (history_moves(frozen)) update_range(frozen, 0, frozen.elements);
  }
}

bool ParameterUpdate::history_moves(const Learned& frozen) const {
  if (rule_.gathers_gradients() && (param_.weight_decay() * frozen.parameter->decay_mult != 0 ||
                                    !frozen.parameter->blob->diff().is_zero()))
    return true;
  return std::any_of(frozen.history.begin(), frozen.history.end(),
                     [](const Buffer* history) { return !history->is_zero(); });
}

void ParameterUpdate::update_range(const Learned& learned, int64_t offset, int64_t count) {
  const Net::Parameter& parameter = *learned.parameter;
  UpdateStep step;
  step.rate = step_.rate * parameter.lr_mult;
  step.decay = param_.weight_decay() * parameter.decay_mult;
  step.l1 = param_.regularization_type() == "L1";
  step.grad_scale = scale_;
  step.iteration = step_.iteration;
  float* history[4] = {};
  for (size_t k = 0; k < learned.history.size(); ++k) {
    history[k] = static_cast<float*>(learned.history[k]->update(learned.history_index[k])) + offset;
  }
  const auto* gradient =
      static_cast<const float*>(parameter.blob->diff().read(learned.diff_index)) + offset;
  float* weights = static_cast<float*>(parameter.blob->data().update(learned.data_index)) + offset;
  rule_.apply(step, weights, gradient, history, count);
  parameter.blob->data().end_pass();
}

void ParameterUpdate::clip() {
  const float mean = scale_ * static_cast<float>(param_.iter_size());
  const double norm = gradient_norm() * mean;
  if (norm <= param_.clip_gradients()) return;
  const double factor = param_.clip_gradients() / norm;
  CAFFE_LOG_INFO("Gradient clipping: scaling down gradients (L2 norm ", norm, " > ",
                 param_.clip_gradients(), ") by scale factor ", factor);
  scale_ *= static_cast<float>(factor);
}

double ParameterUpdate::gradient_norm() {
  double squares = 0;
  for (const Learned& learned : learned_) {
    const auto* g =
        static_cast<const float*>(learned.parameter->blob->diff().read(learned.diff_index));
    squares += parallel_sum<double>(learned.elements,
                                    [=](int64_t i) { return static_cast<double>(g[i]) * g[i]; });
  }
  return std::sqrt(squares);
}

}  // namespace caffe

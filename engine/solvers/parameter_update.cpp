#include "solvers/parameter_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/log.h"
#include "core/memory.h"
#include "kernels/for_each.h"
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

void ParameterUpdate::set_exchange(Exchange* exchange, const Agreement& agreement) {
  exchange_ = exchange;
  agreement_ = agreement;
  for (const Net::Parameter& parameter : net_.parameters()) {
    const Buffer& data = parameter.blob->data();
    layouts_.push_back(agreement.plain_wire ? nullptr : data.layout(data.master()));
  }
  bound_plan_ = -1;
  bind();  // before the first pass, which then brings the weights to where they will travel from
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
  if (exchange_) lay_pieces();
  cut();
  bound_plan_ = net_.plan_generation();
}

ParameterUpdate::Learned ParameterUpdate::bind_parameter(size_t index) {
  const Net::Parameter& parameter = net_.parameters()[index];
  Learned learned;
  learned.parameter = &parameter;
  Buffer& data = parameter.blob->data();
  const LayoutPtr layout = exchange_ ? layouts_[index] : data.layout(data.master());
  learned.data_index = data.representation(layout);
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

// All learned parameters one behind the other, from where they travel without a copy, and the tail.
void ParameterUpdate::lay_pieces() {
  int64_t total = kTail;
  for (const Learned& learned : learned_) total += round_up(learned.elements, kLine);
  const auto lay = [&](std::shared_ptr<Storage>& piece, const auto& place) {
    // Layouts stay, and so do the pieces.
    if (!piece) piece = std::make_shared<Storage>(static_cast<size_t>(total) * sizeof(float));
    float* next = static_cast<float*>(piece->data());
    for (Learned& learned : learned_) {
      const auto [buffer, index] = place(learned, next);
      if (index != 0 || !buffer->pinned()) buffer->bind(index, next, piece);
      const int64_t size = round_up(learned.elements, kLine);
      std::fill(next + learned.elements, next + size, 0.0f);
      next += size;
    }
    return next;
  };
  tail_ = tail_result_ = lay(wire_, [](Learned& learned, float* memory) {
    learned.wire = memory;
    return std::pair(&learned.parameter->blob->diff(), learned.diff_index);
  });
  if (!shares()) return;
  tail_result_ = lay(weights_, [](Learned& learned, float* memory) {
    learned.weights = memory;
    return std::pair(&learned.parameter->blob->data(), learned.data_index);
  });
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
      add_segment({i, offset, count, {}});
      offset += count;
      filled += count;
    }
  }
  if (exchange_) add_tail();
  if (shares()) share_buckets();
}

void ParameterUpdate::add_tail() {
  // It lies right behind the last parameter; rounded a loss would tell little.
  if (!exchange_->rounds()) {
    Bucket& last = buckets_.back();
    if (!last.begin) last.begin = tail_;
    last.count = static_cast<size_t>(tail_ + kTail - last.begin);
  }
}

void ParameterUpdate::share_buckets() {
  for (Bucket& bucket : buckets_) {
    bucket.results = tail_result_ - (tail_ - bucket.begin);
    bucket.update = [this, &bucket](size_t begin, size_t count) {
      update_owned(bucket, static_cast<int64_t>(begin), static_cast<int64_t>(count));
    };
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
  CAFFE_REQUIRE_CODE(!shares() || step.early, ErrorCode::kInternal,
                     "somebody waits for gradients, which shared updates do not show");
  scale_ = 1.0f / static_cast<float>(param_.iter_size());
  if (exchange_) scale_ = 1.0f / static_cast<float>(exchange_->world()) / param_.iter_size();
  started_ = arrived_ = updated_ = 0;
  own_loss_ = loss;
  trim();
  if (!exchange_) return;
  if (shares()) whole_ = false;
  tail_[0] = static_cast<float>(loss);
  tail_[1] = std::exchange(requested_, false) ? 1 : 0;
  if (exchange_->rounds()) tail_sum_ = exchange_->start_sum(tail_, kTail);
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
  if (shares()) {
    for (const Learned& learned : learned_) learned.parameter->blob->data().end_pass();
  }
  if (exchange_->rounds()) exchange_->wait(tail_sum_);
  gathers_ = tail_result_[1] > 0;
  return static_cast<double>(tail_result_[0]) / exchange_->world();
}

void ParameterUpdate::finish() {
  if (clips()) clip();
  update_arrived();
  update_frozen();
  if (std::exchange(gathers_, false)) gather_history();
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
  CAFFE_REQUIRE(!shares(),
                "the workers of this solver share its updates out, so no gradients can be applied "
                "from outside");
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
  for (Segment& segment : bucket.segments) {
    const Learned& learned = learned_[segment.learned];
    copy(gradient_of(learned), learned.wire, segment);
    if (!shares()) continue;
    segment.operands = operands_of(learned);
    segment.operands.gradient = learned.wire;
    copy(segment.operands.weights, learned.weights, segment);
    segment.operands.weights = learned.weights;
  }
  bucket.sum =
      shares() ? exchange_->start_apply(bucket.begin, bucket.results, bucket.count, bucket.update)
               : exchange_->start_sum(bucket.begin, bucket.count);
}

// Nothing to do where the parameter lies on the wire, as it does unless somebody holds a view.
void ParameterUpdate::copy(const float* from, float* to, const Segment& segment) {
  if (from == to) return;
  std::memcpy(to + segment.offset, from + segment.offset,
              static_cast<size_t>(segment.count) * sizeof(float));
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
    Blob& blob = *learned.parameter->blob;
    if (shares()) {
      copy(learned.weights, static_cast<float*>(blob.data().update(learned.data_index)), segment);
    } else {
      copy(learned.wire, static_cast<float*>(blob.diff().write(learned.diff_index)), segment);
    }
  }
}

// ---- the update ----

void ParameterUpdate::update_arrived() {
  if (shares()) return;  // they arrive as new weights
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

// work(segment, offset, count) for what the bucket's elements [begin, begin + count) are of its
// parameters.
template <typename Work>
void ParameterUpdate::for_each_overlap(const Bucket& bucket, int64_t begin, int64_t count,
                                       const Work& work) const {
  for (const Segment& segment : bucket.segments) {
    const int64_t base = learned_[segment.learned].wire - bucket.begin;
    const int64_t first = std::max(begin - base, segment.offset);
    const int64_t last = std::min(begin + count - base, segment.offset + segment.count);
    if (first < last) work(segment, first, last - first);
  }
}

// In the exchange's thread: by pieces that are not worth a team of threads, which are busy.
void ParameterUpdate::update_owned(const Bucket& bucket, int64_t begin, int64_t count) const {
  for_each_overlap(bucket, begin, count, [&](const Segment& segment, int64_t offset, int64_t size) {
    for (int64_t done = 0; done < size; done += kParallelGrain) {
      update_range(segment.operands, offset + done, std::min(size - done, kParallelGrain));
    }
  });
  // What is in the bucket behind the parameters.
  const int64_t tail = std::max(begin, tail_ - bucket.begin);
  for (int64_t i = tail; i < begin + count; ++i) bucket.results[i] = bucket.begin[i];
}

const float* ParameterUpdate::gradient_of(const Learned& learned) {
  return static_cast<const float*>(learned.parameter->blob->diff().read(learned.diff_index));
}

ParameterUpdate::Operands ParameterUpdate::operands_of(const Learned& learned) const {
  const Net::Parameter& parameter = *learned.parameter;
  Operands operands;
  UpdateStep& step = operands.step;
  step.rate = step_.rate * parameter.lr_mult;
  step.decay = param_.weight_decay() * parameter.decay_mult;
  step.l1 = param_.regularization_type() == "L1";
  step.grad_scale = scale_;
  step.iteration = step_.iteration;
  for (size_t k = 0; k < learned.history.size(); ++k) {
    operands.history[k] = static_cast<float*>(learned.history[k]->update(learned.history_index[k]));
  }
  operands.gradient = gradient_of(learned);
  operands.weights = static_cast<float*>(parameter.blob->data().update(learned.data_index));
  return operands;
}

void ParameterUpdate::update_range(const Operands& operands, int64_t offset, int64_t count) const {
  std::array<float*, 4> history = operands.history;
  for (float*& kind : history) {
    if (kind) kind += offset;
  }
  rule_.apply(operands.step, operands.weights + offset, operands.gradient + offset, history.data(),
              count);
}

void ParameterUpdate::update_range(const Learned& learned, int64_t offset, int64_t count) const {
  update_range(operands_of(learned), offset, count);
  learned.parameter->blob->data().end_pass();
}

void ParameterUpdate::gather_history() {
  if (whole_) return;
  for (const Bucket& bucket : buckets_) {
    for (int rank = 0; rank < exchange_->world(); ++rank) {
      const Part part = exchange_->owned(bucket.count, rank);
      if (part.count == bucket.count) break;  // all have it
      const auto send = [&](const Segment& segment, int64_t offset, int64_t count) {
        const Learned& learned = learned_[segment.learned];
        for (size_t k = 0; k < learned.history.size(); ++k) {
          auto* values = static_cast<float*>(learned.history[k]->update(learned.history_index[k]));
          exchange_->broadcast(values + offset, static_cast<size_t>(count) * sizeof(float), rank);
        }
      };
      for_each_overlap(bucket, static_cast<int64_t>(part.begin), static_cast<int64_t>(part.count),
                       send);
    }
  }
  whole_ = true;
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
    const float* g = gradient_of(learned);
    squares += parallel_sum<double>(learned.elements,
                                    [=](int64_t i) { return static_cast<double>(g[i]) * g[i]; });
  }
  return std::sqrt(squares);
}

}  // namespace caffe

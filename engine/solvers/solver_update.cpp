#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/log.h"
#include "core/random.h"
#include "solvers/learning_rate.h"
#include "solvers/solver.h"

namespace caffe {
namespace {

// Bytes of a representation, as floats.
int64_t elements_of(const Buffer& buffer, const LayoutPtr& layout) {
  return layout ? static_cast<int64_t>(layout->bytes() / sizeof(float)) : buffer.count();
}

}  // namespace

// Weights, gradients and history of a parameter are kept in the layout that the net's plan wants
// for its weights, so that an update is one pass over equal arrays and nothing is reordered between
// steps.
void Solver::bind_parameters() {
  if (bound_plan_ == net_->plan_generation()) return;
  learned_.clear();
  const size_t count = net_->parameters().size();
  int64_t total = 1;  // the loss
  for (size_t i = 0; i < count; ++i) {
    const Net::Parameter& parameter = net_->parameters()[i];
    if (parameter.lr_mult == 0) continue;
    Learned learned;
    learned.parameter = &parameter;
    Buffer& data = parameter.blob->data();
    learned.data_index = plain_wire_ ? 0 : data.preferred();
    const LayoutPtr& layout = data.layout(learned.data_index);
    learned.diff_index = parameter.blob->diff().representation(layout);
    for (int kind = 0; kind < rule_->histories(); ++kind) {
      Buffer& history = history_[static_cast<size_t>(kind) * count + i]->data();
      learned.history.push_back(&history);
      learned.history_index.push_back(history.representation(layout));
    }
    learned.elements = elements_of(data, layout);
    total += learned.elements;
    learned_.push_back(std::move(learned));
  }
  if (exchange_) {
    // The old piece lives until every gradient has moved out of it.
    auto wire = std::make_unique<Storage>(static_cast<size_t>(total) * sizeof(float));
    float* next = static_cast<float*>(wire->data());
    for (const Learned& learned : learned_) {
      Buffer& diff = learned.parameter->blob->diff();
      if (learned.diff_index != 0 || !diff.pinned()) diff.bind(learned.diff_index, next);
      next += learned.elements;
    }
    wire_ = std::move(wire);
  }
  bound_plan_ = net_->plan_generation();
}

double Solver::forward_backward() {
  net_->clear_parameter_diffs();
  double loss = 0;
  for (int k = 0; k < param_.iter_size(); ++k) {
    net_->set_pass(iter_ * param_.iter_size() + k);
    loss += net_->forward();
    net_->backward();
  }
  return loss / param_.iter_size();
}

Solver::StepResult Solver::train_iteration() {
  CAFFE_REQUIRE_CODE(!cancelled_, ErrorCode::kCancelled, "training was cancelled");
  for (const auto& callback : on_start_) callback();
  StepResult result;
  result.loss = exchange_gradients(forward_backward());
  for (const auto& callback : on_gradients_ready_) callback();
  remember_loss(result.loss);
  result.learning_rate = apply_update();
  return result;
}

// Leaves in the diffs the sum over the ranks (apply_update divides), and returns the mean loss.
double Solver::exchange_gradients(double loss) {
  bind_parameters();
  if (!exchange_) return loss;
  float* const wire = static_cast<float*>(wire_->data());
  float* next = wire;
  for (const Learned& learned : learned_) {
    const void* gradient = learned.parameter->blob->diff().read(learned.diff_index);
    if (gradient != next)
      std::memcpy(next, gradient, static_cast<size_t>(learned.elements) * sizeof(float));
    next += learned.elements;
  }
  *next = static_cast<float>(loss);
  exchange_->sum(wire, static_cast<size_t>(next - wire) + 1);
  const double mean = static_cast<double>(*next) / exchange_->world();
  next = wire;
  for (const Learned& learned : learned_) {
    void* gradient = learned.parameter->blob->diff().write(learned.diff_index);
    if (gradient != next)
      std::memcpy(gradient, next, static_cast<size_t>(learned.elements) * sizeof(float));
    next += learned.elements;
  }
  return mean;
}

double Solver::gradient_norm() {
  double squares = 0;
  for (const Learned& learned : learned_) {
    const float* g =
        static_cast<const float*>(learned.parameter->blob->diff().read(learned.diff_index));
    for (int64_t i = 0; i < learned.elements; ++i) squares += static_cast<double>(g[i]) * g[i];
  }
  return std::sqrt(squares);
}

double Solver::apply_update() {
  bind_parameters();
  const float rate = learning_rate(param_, iter_, &current_step_);
  const float mean = exchange_ ? 1.0f / static_cast<float>(exchange_->world()) : 1.0f;
  float scale = mean;
  if (param_.clip_gradients() >= 0) {
    const double norm = gradient_norm() * mean;
    if (norm > param_.clip_gradients()) {
      const double factor = param_.clip_gradients() / norm;
      CAFFE_LOG_INFO("Gradient clipping: scaling down gradients (L2 norm ", norm, " > ",
                     param_.clip_gradients(), ") by scale factor ", factor);
      scale *= static_cast<float>(factor);
    }
  }
  scale /= static_cast<float>(param_.iter_size());
  for (const Learned& learned : learned_) {
    const Net::Parameter& parameter = *learned.parameter;
    UpdateStep step;
    step.rate = rate * parameter.lr_mult;
    step.decay = param_.weight_decay() * parameter.decay_mult;
    step.l1 = param_.regularization_type() == "L1";
    step.grad_scale = scale;
    step.iteration = iter_;
    float* history[4] = {};
    for (size_t k = 0; k < learned.history.size(); ++k) {
      history[k] = static_cast<float*>(learned.history[k]->update(learned.history_index[k]));
    }
    const float* gradient =
        static_cast<const float*>(parameter.blob->diff().read(learned.diff_index));
    float* weights = static_cast<float*>(parameter.blob->data().update(learned.data_index));
    rule_->apply(step, weights, gradient, history, learned.elements);
    parameter.blob->data().end_pass();
  }
  ++iter_;
  return rate;
}

// ---- several workers ----

uint64_t Solver::config_hash() const {
  std::string text;
  for (const Net::Parameter& parameter : net_->parameters()) {
    text +=
        concat(parameter.name, " ", parameter.blob->shape().str(), " ", parameter.lr_mult, "\n");
  }
  return random_key(0, concat(text, param_.type(), " ", param_.iter_size()));
}

void Solver::set_exchange(Exchange* exchange) {
  CAFFE_REQUIRE(exchange->world() == options_.world && exchange->rank() == options_.rank,
                "the solver is rank ", options_.rank, " of ", options_.world,
                ", the group has rank ", exchange->rank(), " of ", exchange->world());
  exchange_ = exchange;
  share_start();
  plain_wire_ = !layouts_agree();
  bound_plan_ = -1;
}

void Solver::share_start() {
  int64_t start[2] = {iter_, current_step_};
  exchange_->broadcast(start, sizeof(start), 0);
  CAFFE_REQUIRE(start[0] == iter_, "rank 0 starts at iteration ", start[0], ", this rank (",
                options_.rank, ") at ", iter_, "; all ranks must see the same snapshot");
  const auto send = [&](Buffer& buffer) {
    const size_t bytes = static_cast<size_t>(buffer.count()) * size_of(buffer.dtype());
    if (bytes > 0) exchange_->broadcast(buffer.update(), bytes, 0);
  };
  for (const Net::Parameter& parameter : net_->parameters()) send(parameter.blob->data());
  if (iter_ > 0) {
    for (const auto& blob : history_) send(blob->data());
  }
}

// Blocked layouts depend on the CPU: where the ranks' differ, gradients travel in plain order.
bool Solver::layouts_agree() {
  std::string text;
  for (const Net::Parameter& parameter : net_->parameters()) {
    const Buffer& data = parameter.blob->data();
    const LayoutPtr& layout = data.layout(data.preferred());
    text += (layout ? concat(layout->name(), ":", layout->bytes()) : "plain") + "\n";
  }
  const uint64_t mine = random_key(0, text);
  uint64_t first = mine;
  exchange_->broadcast(&first, sizeof(first), 0);
  float different = first == mine ? 0 : 1;
  exchange_->sum(&different, 1);
  return different == 0;
}

}  // namespace caffe

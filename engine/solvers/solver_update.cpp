#include "core/log.h"
#include "core/random.h"
#include "solvers/learning_rate.h"
#include "solvers/solver.h"

namespace caffe {

// All sub-batches; gradients are complete with the last one, whose backward pass hands them on.
double Solver::forward_backward(const ParameterUpdate::Step& step) {
  net_->clear_parameter_diffs();
  const int64_t sub_batches = param_.iter_size();
  double loss = 0;
  for (int64_t k = 0; k < sub_batches; ++k) {
    net_->set_pass(iter_ * sub_batches + k);
    loss += net_->forward();
    if (k + 1 < sub_batches) {
      net_->backward();
      continue;
    }
    update_->begin(step, loss / static_cast<double>(sub_batches));
    net_->set_backward_progress([this](int layer) { update_->reached(layer); });
    net_->backward();
    net_->set_backward_progress(nullptr);
  }
  return update_->collect();
}

Solver::StepResult Solver::train_iteration() {
  CAFFE_REQUIRE_CODE(!cancelled_, ErrorCode::kCancelled, "training was cancelled");
  try {
    return run_iteration();
  } catch (const Error& error) {
    net_->set_backward_progress(nullptr);
    // The others wait for sums that will not come: they learn the cause. Then nothing of this
    // solver's memory is in use.
    if (exchange_) exchange_->abandon(error);
    throw;
  } catch (const std::exception& error) {
    net_->set_backward_progress(nullptr);
    if (exchange_) exchange_->abandon(Error(ErrorCode::kInternal, error.what()));
    throw;
  }
}

Solver::StepResult Solver::run_iteration() {
  for (const auto& callback : on_start_) callback();
  ParameterUpdate::Step step;
  int32_t current_step = current_step_;
  step.rate = learning_rate(param_, iter_, &current_step);
  step.iteration = iter_;
  step.early = on_gradients_ready_.empty();
  StepResult result;
  result.learning_rate = step.rate;
  result.loss = forward_backward(step);
  for (const auto& callback : on_gradients_ready_) callback();
  remember_loss(result.loss);
  update_->finish();
  current_step_ = current_step;
  ++iter_;
  return result;
}

double Solver::apply_update() {
  const float rate = learning_rate(param_, iter_, &current_step_);
  update_->apply({rate, iter_});
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
  return random_key(0, concat(text, param_.type(), " ", param_.iter_size(), " ",
                              SolverParameter::Precision_Name(param_.precision())));
}

void Solver::set_exchange(Exchange* exchange) {
  CAFFE_REQUIRE(exchange->world() == options_.world && exchange->rank() == options_.rank,
                "the solver is rank ", options_.rank, " of ", options_.world,
                ", the group has rank ", exchange->rank(), " of ", exchange->world());
  CAFFE_REQUIRE(!exchange_,
                "this solver has joined other workers before; make a new one from a snapshot");
  exchange_ = exchange;
  share_start();
  update_->set_exchange(exchange, agree());
}

void Solver::add_callback(std::function<void()> on_start,
                          std::function<void()> on_gradients_ready) {
  CAFFE_REQUIRE(!on_gradients_ready || !update_->shares(),
                "a callback for gradients must be added before the solver joins other workers: "
                "these have agreed to share updates out, so no worker has all gradients");
  if (on_start) on_start_.push_back(std::move(on_start));
  if (on_gradients_ready) on_gradients_ready_.push_back(std::move(on_gradients_ready));
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

// Whether nobody will ask this rank for gradients that are summed over the workers.
bool Solver::may_share_updates() const {
  return exchange_->world() > 1 && !exchange_->rounds() && param_.clip_gradients() < 0 &&
         !param_.snapshot_diff() && options_.observed && on_gradients_ready_.empty();
}

// Blocked layouts depend on the CPU: where the ranks' differ, all travels in plain order.
ParameterUpdate::Agreement Solver::agree() {
  std::string text;
  for (const Net::Parameter& parameter : net_->parameters()) {
    const Buffer& data = parameter.blob->data();
    const LayoutPtr& layout = data.layout(data.master());
    text += (layout ? concat(layout->name(), ":", layout->bytes()) : "plain") + "\n";
  }
  const uint64_t mine = random_key(0, text);
  uint64_t first = mine;
  exchange_->broadcast(&first, sizeof(first), 0);
  float objections[2] = {first == mine ? 0.0f : 1.0f, may_share_updates() ? 0.0f : 1.0f};
  exchange_->sum(objections, 2);
  return {.plain_wire = objections[0] > 0, .shares = objections[1] == 0};
}

}  // namespace caffe

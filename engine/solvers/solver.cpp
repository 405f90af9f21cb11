#include "solvers/solver.h"

#include <cmath>
#include <numeric>

#include "core/clock.h"
#include "core/log.h"
#include "core/random.h"
#include "io/prototxt.h"
#include "io/snapshot.h"
#include "solvers/learning_rate.h"

namespace caffe {
namespace {

// Test rounds that ran before iteration `iter`.
int64_t rounds_before(const SolverParameter& param, int64_t iter) {
  if (param.test_interval() <= 0 || iter <= 0) return 0;
  return (iter - 1) / param.test_interval() + (param.test_initialization() ? 1 : 0);
}

}  // namespace

NetParameter training_net(const SolverParameter& solver) {
  const int given = solver.has_net() + solver.has_net_param() + solver.has_train_net() +
                    solver.has_train_net_param();
  CAFFE_REQUIRE(
      given == 1,
      "a solver needs exactly one of net, net_param, train_net and train_net_param; this one has ",
      given);
  if (solver.has_train_net_param()) return solver.train_net_param();
  if (solver.has_train_net()) return read_net(solver.train_net());
  if (solver.has_net_param()) return solver.net_param();
  return read_net(solver.net());
}

Solver::Solver(const SolverParameter& param, const SolverOptions& options)
    : param_(param), options_(options) {
  CAFFE_REQUIRE(options.world >= 1 && options.rank >= 0 && options.rank < options.world, "rank ",
                options.rank, " of ", options.world, " workers makes no sense");
  CAFFE_REQUIRE(param_.iter_size() >= 1, "iter_size must be at least 1, not ", param_.iter_size());
  CAFFE_REQUIRE(param_.average_loss() >= 1, "average_loss must be at least 1, not ",
                param_.average_loss());
  CAFFE_REQUIRE(param_.regularization_type() == "L1" || param_.regularization_type() == "L2",
                "Unknown regularization type: ", param_.regularization_type(),
                " (known types: L1, L2)");
  check_learning_rate(param_);
  if (param_.has_solver_mode() && param_.solver_mode() == SolverParameter::GPU) {
    CAFFE_LOG_WARNING("The solver says solver_mode: GPU; this build computes on the CPU only.");
  }
  rule_ = SolverRegistry::get(param_.type())(param_);
  seed_ = options.seed                ? *options.seed
          : param_.random_seed() >= 0 ? static_cast<uint64_t>(param_.random_seed())
                                      : default_seed();
  CAFFE_LOG_INFO("Random seed: ", seed_);
  if (options.precision) {
    param_.set_precision(*options.precision == Precision::kBF16 ? SolverParameter::BF16
                                                                : SolverParameter::F32);
  }
  if (!options_.state.empty()) iter_ = read_state(options_.state).iter();
  create_nets();
  create_history();
  update_ = std::make_unique<ParameterUpdate>(param_, *rule_, *net_, history_);
  load_start();
}

Solver::~Solver() = default;

NetOptions Solver::net_options(Phase phase) const {
  NetOptions net;
  net.phase = phase;
  net.observed = options_.observed;
  net.precision = param_.precision() == SolverParameter::BF16 ? Precision::kBF16 : Precision::kF32;
  net.seed = seed_;
  net.rank = options_.rank;
  net.world = options_.world;
  net.data.shuffle = options_.shuffle && phase == TRAIN;
  net.data.resize = options_.resize;
  net.data.threads = options_.data_threads;
  net.arena = arena_;
  net.forward_only = phase == TEST && options_.observed.has_value();
  return net;
}

void Solver::create_nets() {
  NetParameter net = training_net(param_);
  net.mutable_state()->MergeFrom(param_.train_state());
  NetOptions options = net_options(TRAIN);
  if (options_.continue_data) {
    options.data.first_batch = options_.first_batch.value_or(iter_ * param_.iter_size());
  }
  options.memory_limit = options_.memory_limit;
  CAFFE_LOG_INFO("Creating training net.");
  net_ = std::make_shared<Net>(net, options);
  create_test_nets();
}

void Solver::create_test_nets() {
  const int named = param_.test_net_param_size() + param_.test_net_size();
  const bool generic = param_.has_net() || param_.has_net_param();
  const int count = generic ? param_.test_iter_size() : named;
  CAFFE_REQUIRE(generic ? param_.test_iter_size() >= named : param_.test_iter_size() == named,
                "test_iter must be given for each test net: there are ", param_.test_iter_size(),
                " for ", named);
  CAFFE_REQUIRE(param_.test_state_size() == 0 || param_.test_state_size() == count,
                "test_state must be given for each of the ", count,
                " test nets or not at all, not ", param_.test_state_size(), " times");
  CAFFE_REQUIRE(count == 0 || param_.test_interval() > 0,
                "test_iter is given, so test_interval must be above 0");
  for (int i = 0; i < param_.test_net_param_size(); ++i) {
    test_nets_.push_back(create_test_net(param_.test_net_param(i), i));
  }
  for (int i = 0; i < param_.test_net_size(); ++i) {
    test_nets_.push_back(
        create_test_net(read_net(param_.test_net(i)), static_cast<int>(test_nets_.size())));
  }
  while (static_cast<int>(test_nets_.size()) < count) {
    const int index = static_cast<int>(test_nets_.size());
    test_nets_.push_back(create_test_net(
        param_.has_net_param() ? param_.net_param() : read_net(param_.net()), index));
  }
}

std::shared_ptr<Net> Solver::create_test_net(const NetParameter& net, int index) {
  NetParameter copy = net;
  if (param_.test_state_size() > 0) copy.mutable_state()->MergeFrom(param_.test_state(index));
  NetOptions options = net_options(TEST);
  const int64_t batches = param_.test_iter(index);
  CAFFE_REQUIRE(batches >= 0, "test_iter must be at least 0, not ", batches);
  options.data.batches_per_round = batches;
  if (options_.continue_data) options.data.first_round = rounds_before(param_, iter_);
  CAFFE_LOG_INFO("Creating test net (#", index, ").");
  auto test = std::make_shared<Net>(copy, options);
  test->share_trained_with(*net_);
  test->set_debug_info(param_.debug_info());
  return test;
}

void Solver::create_history() {
  for (int kind = 0; kind < rule_->histories(); ++kind) {
    for (const Net::Parameter& parameter : net_->parameters()) {
      history_.push_back(std::make_shared<Blob>(parameter.blob->shape()));
    }
  }
}

void Solver::load_start() {
  const std::string weights =
      !options_.weights.empty()
          ? options_.weights
          : std::accumulate(param_.weights().begin(), param_.weights().end(), std::string(),
                            [](const std::string& all, const std::string& file) {
                              return all.empty() ? file : all + "," + file;
                            });
  if (!options_.state.empty()) restore(options_.state);
  if (!weights.empty()) net_->load_weights(weights);
}

bool Solver::test_due() const {
  return param_.test_interval() > 0 && iter_ % param_.test_interval() == 0 &&
         (iter_ > 0 || param_.test_initialization());
}

void Solver::step(int64_t iterations) {
  check_snapshot_folder();
  const int64_t end = iter_ + iterations;
  losses_.clear();
  auto since = Clock::now();
  int64_t displayed = iter_;
  while (iter_ < end && !stop_) {
    if (test_due()) {
      test_all();
      if (stop_) break;
    }
    const bool displays = param_.display() > 0 && iter_ % param_.display() == 0;
    net_->set_debug_info(param_.debug_info() && displays);
    const StepResult result = train_iteration();
    if (param_.display() > 0 && (iter_ - 1) % param_.display() == 0) {
      display(result, seconds_since(since), iter_ - displayed);
      since = Clock::now();
      displayed = iter_;
    }
    if (param_.snapshot() > 0 && iter_ % param_.snapshot() == 0) snapshot();
    obey_requests();
  }
}

SolverRequest Solver::next_request() {
  if (!exchange_) return next_request_();
  auto request = static_cast<int32_t>(options_.rank == 0 ? next_request_() : SolverRequest::kNone);
  exchange_->broadcast(&request, sizeof(request), 0);
  return static_cast<SolverRequest>(request);
}

void Solver::obey_requests() {
  if (!next_request_) return;
  for (SolverRequest request = next_request(); request != SolverRequest::kNone;
       request = next_request()) {
    if (request == SolverRequest::kStop) {
      stop_ = true;
      return;
    }
    snapshot();
  }
}

void Solver::solve() {
  CAFFE_LOG_INFO("Solving ", net_->name());
  CAFFE_LOG_INFO("Learning Rate Policy: ", param_.lr_policy());
  step(max_iter() - iter_);
  const bool just_done = param_.snapshot() > 0 && iter_ % param_.snapshot() == 0;
  if (param_.snapshot_after_train() && !just_done) snapshot();
  if (stop_) {
    CAFFE_LOG_INFO("Optimization stopped early.");
    return;
  }
  if (param_.display() > 0 && iter_ % param_.display() == 0) {
    remember_loss(final_loss());
    CAFFE_LOG_INFO("Iteration ", iter_, ", loss = ", smoothed_loss());
  }
  if (param_.test_interval() > 0 && iter_ % param_.test_interval() == 0) test_all();
  CAFFE_LOG_INFO("Optimization Done.");
}

// Of the next batch, without an update; the mean over the ranks.
double Solver::final_loss() {
  const double loss = net_->forward();
  if (!exchange_) return loss;
  auto sum = static_cast<float>(loss);
  exchange_->sum(&sum, 1);
  return static_cast<double>(sum) / exchange_->world();
}

void Solver::remember_loss(double loss) {
  losses_.push_back(loss);
  while (losses_.size() > static_cast<size_t>(param_.average_loss())) losses_.pop_front();
}

double Solver::smoothed_loss() const {
  if (losses_.empty()) return 0;
  return std::accumulate(losses_.begin(), losses_.end(), 0.0) / static_cast<double>(losses_.size());
}

void Solver::display(const StepResult& result, double seconds, int64_t iterations) {
  const int64_t iteration = iter_ - 1;
  CAFFE_LOG_INFO("Iteration ", iteration, " (", static_cast<double>(iterations) / seconds,
                 " iter/s, ", seconds, "s/", iterations, " iters), loss = ", smoothed_loss());
  int number = 0;
  for (const int id : net_->output_blobs()) {
    const Blob& blob = *net_->blobs()[static_cast<size_t>(id)];
    const std::string& name = net_->blob_names()[static_cast<size_t>(id)];
    const float weight = net_->loss_weight(id);
    for (int64_t i = 0; i < blob.count(); ++i) {
      const float value = blob.data_as<float>()[i];
      const std::string share =
          weight != 0 ? concat(" (* ", weight, " = ", weight * value, " loss)") : "";
      CAFFE_LOG_INFO("    Train net output #", number++, ": ", name, " = ", value, share);
    }
  }
  CAFFE_LOG_INFO("Iteration ", iteration, ", lr = ", result.learning_rate);
}

void Solver::test_all() {
  for (int i = 0; i < static_cast<int>(test_nets_.size()) && !stop_; ++i) {
    CAFFE_LOG_INFO("Iteration ", iter_, ", Testing net (#", i, ")");
    double loss = 0;
    const std::vector<NamedValues> outputs = test(i, &loss);
    if (param_.test_compute_loss()) CAFFE_LOG_INFO("Test loss: ", loss);
    report_test(i, outputs);
  }
}

void Solver::report_test(int index, const std::vector<NamedValues>& outputs) {
  const Net& net = *test_nets_[static_cast<size_t>(index)];
  int number = 0;
  for (const NamedValues& output : outputs) {
    const float weight = net.loss_weight(net.find_blob(output.name));
    for (const float value : output.values) {
      const std::string share =
          weight != 0 ? concat(" (* ", weight, " = ", weight * value, " loss)") : "";
      CAFFE_LOG_INFO("    Test net output #", number++, ": ", output.name, " = ", value, share);
    }
  }
}

std::vector<NamedValues> Solver::test(int index, double* mean_loss) {
  CAFFE_REQUIRE(index >= 0 && index < static_cast<int>(test_nets_.size()), "there are ",
                test_nets_.size(), " test nets; there is no number ", index);
  Net& net = *test_nets_[static_cast<size_t>(index)];
  const int64_t batches = param_.test_iter(index);
  if (batches == 0) return {};
  std::vector<float> sums(1);  // the loss, then the outputs' values
  for (const int id : net.output_blobs())
    sums.resize(sums.size() + static_cast<size_t>(net.blobs()[static_cast<size_t>(id)]->count()));
  for (int64_t batch = options_.rank; batch < batches; batch += options_.world) {
    sums[0] += static_cast<float>(net.forward());
    size_t at = 1;
    for (const int id : net.output_blobs()) {
      const Blob& blob = *net.blobs()[static_cast<size_t>(id)];
      const float* data = blob.data_as<float>();
      CAFFE_REQUIRE(at + static_cast<size_t>(blob.count()) <= sums.size(),
                    "the outputs of test net ", index,
                    " changed their shape between batches; its records must have one shape");
      for (int64_t i = 0; i < blob.count(); ++i) sums[at++] += data[i];
    }
  }
  if (exchange_) exchange_->sum(sums.data(), sums.size());
  if (mean_loss) *mean_loss = static_cast<double>(sums[0]) / static_cast<double>(batches);
  std::vector<NamedValues> outputs;
  auto next = sums.begin() + 1;
  for (const int id : net.output_blobs()) {
    NamedValues output{net.blob_names()[static_cast<size_t>(id)], {}};
    const int64_t count = net.blobs()[static_cast<size_t>(id)]->count();
    for (int64_t i = 0; i < count; ++i)
      output.values.push_back(*next++ / static_cast<float>(batches));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

void Solver::cancel() {
  stop_ = true;
  cancelled_ = true;
  net_->cancel();
  for (const auto& net : test_nets_) net->cancel();
}

}  // namespace caffe

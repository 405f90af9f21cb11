#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/net.h"
#include "solvers/exchange.h"
#include "solvers/parameter_update.h"
#include "solvers/update_rule.h"

namespace caffe {

struct SolverOptions {
  std::optional<std::vector<std::string>> observed;  // as NetOptions::observed, for all nets
  int rank = 0;
  int world = 1;
  std::optional<uint64_t> seed;  // overrides random_seed
  bool shuffle = false;
  // The record position goes on where `state` stopped; otherwise at the first record, as in Caffe.
  bool continue_data = false;
  // With continue_data: batches of this rank before it, where they are not iter * iter_size because
  // the number of ranks has changed.
  std::optional<int64_t> first_batch;
  bool resize = false;                 // DataOptions::resize
  int data_threads = 1;                // per data layer
  size_t memory_limit = 0;             // NetOptions::memory_limit of the training net
  std::optional<Precision> precision;  // of all nets; not given: the solver's own
  std::string weights;                 // comma-separated files to start from
  std::string state;  // solverstate to resume from; with weights, those replace its learned_net
};

// What somebody outside (a signal) wants of a running solver.
enum class SolverRequest { kNone, kStop, kSnapshot };

// Named values, e.g. of a test net's output blobs.
struct NamedValues {
  std::string name;
  std::vector<float> values;
};

// Trains a net: forward, backward, exchange of gradients, update; validation; snapshots. Relative
// file names in the parameters are relative to the working directory, as in Caffe.
class Solver {
 public:
  Solver(const SolverParameter& param, const SolverOptions& options);
  ~Solver();

  const SolverParameter& param() const { return param_; }
  Net& net() { return *net_; }
  const std::shared_ptr<Net>& net_ptr() const { return net_; }
  const std::vector<std::shared_ptr<Net>>& test_nets() const { return test_nets_; }
  int64_t iter() const { return iter_; }
  int64_t max_iter() const { return param_.max_iter(); }

  // ---- as Caffe: with tests, display lines and snapshots where the parameters ask for them ----
  void step(int64_t iterations);
  // To max_iter, then the last snapshot and test.
  void solve();
  void test_all();
  // Asked after every iteration of step and solve. kStop ends both; solve then writes its last
  // snapshot. Where there is an exchange all ranks must have one, and rank 0's answer counts.
  void set_requests(std::function<SolverRequest()> next) { next_request_ = std::move(next); }
  // Called in every iteration: before its first forward pass, and when its gradients are complete,
  // before the update. They may throw, which ends the iteration. Either may be empty. Where there
  // is an exchange, who wants the gradients comes before it.
  void add_callback(std::function<void()> on_start, std::function<void()> on_gradients_ready);

  // ---- the parts, for a driver that does its own scheduling ----
  struct StepResult {
    double loss = 0;  // mean over sub-batches, and over ranks if there is an exchange
    double learning_rate = 0;
  };
  StepResult train_iteration();
  double smoothed_loss() const;  // mean of the last average_loss iterations
  // One round of test net `index`: test_iter batches in total over all ranks, mean per element of
  // each output (nothing where test_iter is 0); mean_loss: of all the net's losses.
  std::vector<NamedValues> test(int index, double* mean_loss = nullptr);
  // Applies the gradients that are in the parameters' diffs (clip, regularise, update) and counts
  // one iteration. Returns the learning rate. Not where workers share updates out.
  double apply_update();

  // ---- state ----
  // <snapshot_prefix>_iter_<N>.caffemodel[.h5] and .solverstate[.h5]; returns the model's path.
  // Rank 0 writes for all, but all ranks call it.
  std::string snapshot();
  // state_path may be empty: the model only. With several workers a state needs keep_state.
  void write_snapshot(const std::string& model_path, const std::string& state_path,
                      const std::string& learned_net);
  void restore(const std::string& state_path);
  const std::vector<std::shared_ptr<Blob>>& history() const { return history_; }
  // Workers share updates out, and with them the history. After the next iteration all will have
  // all of it. One rank suffices to call it, at whatever iteration the others are.
  void keep_state() { update_->request_history(); }

  // ---- several workers ----
  // From now on gradients are averaged over the ranks. Rank 0's parameters and history are sent to
  // all. Once.
  void set_exchange(Exchange* exchange);
  // Over parameter names and shapes.
  uint64_t config_hash() const;

  // Any thread. stop: step and solve end after the running iteration; cancel: also while waiting
  // for data, by an error.
  void stop() { stop_ = true; }
  void cancel();

 private:
  void create_nets();
  void create_test_nets();
  std::shared_ptr<Net> create_test_net(const NetParameter& net, int index);
  NetOptions net_options(Phase phase) const;
  void create_history();
  void load_start();
  StepResult run_iteration();
  double forward_backward(const ParameterUpdate::Step& step);
  void display(const StepResult& result, double seconds, int64_t iterations);
  void report_test(int index, const std::vector<NamedValues>& outputs);
  void check_snapshot_folder() const;
  std::string snapshot_name(const std::string& extension) const;
  void share_start();
  ParameterUpdate::Agreement agree();
  bool may_share_updates() const;
  bool test_due() const;
  SolverRequest next_request();
  void obey_requests();
  double final_loss();
  void remember_loss(double loss);

  SolverParameter param_;
  SolverOptions options_;
  uint64_t seed_ = 0;
  std::unique_ptr<UpdateRule> rule_;
  std::shared_ptr<Arena> arena_ = std::make_shared<Arena>();  // of all nets, which run in turn
  std::shared_ptr<Net> net_;
  std::vector<std::shared_ptr<Net>> test_nets_;
  std::vector<std::shared_ptr<Blob>> history_;  // all of kind 0, then all of kind 1
  int64_t iter_ = 0;
  int32_t current_step_ = 0;
  std::deque<double> losses_;
  Exchange* exchange_ = nullptr;
  std::unique_ptr<ParameterUpdate> update_;
  std::function<SolverRequest()> next_request_;
  std::vector<std::function<void()>> on_start_;
  std::vector<std::function<void()>> on_gradients_ready_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> cancelled_{false};
};

// The net files and messages of a solver's training net: exactly one of net, net_param, train_net,
// train_net_param.
NetParameter training_net(const SolverParameter& solver);

}  // namespace caffe

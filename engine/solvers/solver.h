#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/net.h"
#include "solvers/exchange.h"
#include "solvers/update_rule.h"

namespace caffe {

struct SolverOptions {
  std::optional<std::vector<std::string>> observed;  // as NetOptions::observed, for all nets
  int rank = 0;
  int world = 1;
  std::optional<uint64_t> seed;  // overrides random_seed
  bool shuffle = false;
  bool continue_data = false;  // restore() moves the record position on to where the state stopped
  std::string weights;         // comma-separated files to start from
  std::string state;           // solverstate to resume from; with weights, those replace its learned_net
};

// Named values, e.g. of a test net's output blobs.
struct NamedValues {
  std::string name;
  std::vector<float> values;
};

// Trains a net: forward, backward, exchange of gradients, update; validation; snapshots. Relative file names in the
// parameters are relative to the working directory, as in Caffe.
class Solver {
 public:
  Solver(const SolverParameter& param, const SolverOptions& options);
  ~Solver();

  const SolverParameter& param() const { return param_; }
  const std::string& type() const { return param_.type(); }
  Net& net() { return *net_; }
  const std::shared_ptr<Net>& net_ptr() const { return net_; }
  const std::vector<std::shared_ptr<Net>>& test_nets() const { return test_nets_; }
  int64_t iter() const { return iter_; }
  int64_t max_iter() const { return param_.max_iter(); }

  // ---- as Caffe: with tests, display lines and snapshots where the parameters ask for them ----
  void step(int64_t iterations);
  // To max_iter, then the last snapshot and test.
  void solve();
  // What a display or test prints goes through core/log.h.
  void test_all();

  // ---- the parts, for a driver that does its own scheduling ----
  struct StepResult {
    double loss = 0;  // of this iteration: mean over sub-batches, and over ranks if there is an exchange
    double learning_rate = 0;
  };
  StepResult train_iteration();
  double smoothed_loss() const { return smoothed_loss_; }
  // One round of test net `index`: test_iter batches in total over all ranks, mean per element of each output.
  std::vector<NamedValues> test(int index);
  // Applies the gradients that are in the parameters' diffs (clip, regularise, update) and counts one iteration.
  void apply_update();

  // ---- state ----
  // <snapshot_prefix>_iter_<N>.caffemodel[.h5] and .solverstate[.h5]; returns the model's path.
  std::string snapshot();
  void write_snapshot(const std::string& model_path, const std::string& state_path, const std::string& learned_net);
  void restore(const std::string& state_path);
  const std::vector<std::shared_ptr<Blob>>& history() const { return history_; }

  // ---- several workers ----
  // From now on gradients are averaged over the ranks. Rank 0's parameters are sent to all.
  void set_exchange(Exchange* exchange);
  // Over parameter names, shapes and wire layouts.
  uint64_t config_hash() const;

  // Any thread. stop: step and solve end after the running iteration; cancel: also while waiting for data, by an error.
  void stop() { stop_ = true; }
  void cancel();

 private:
  void create_nets(const SolverOptions& options);
  void create_history();
  double learning_rate();
  void bind_gradients();
  void update_smoothed_loss(double loss, int64_t start_iter);
  void display(double rate, double seconds, int64_t iterations);
  void report_test(int index, const std::vector<NamedValues>& outputs);
  std::string snapshot_name(const std::string& extension) const;
  double exchange_gradients(double loss);
  std::vector<float*> gradient_arrays();

  SolverParameter param_;
  SolverOptions options_;
  uint64_t seed_ = 0;
  std::unique_ptr<UpdateRule> rule_;
  std::shared_ptr<Net> net_;
  std::vector<std::shared_ptr<Net>> test_nets_;
  std::vector<std::shared_ptr<Blob>> history_;  // all of kind 0, then all of kind 1
  std::vector<int64_t> test_rounds_;
  int64_t iter_ = 0;
  int32_t current_step_ = 0;
  std::vector<double> losses_;
  double smoothed_loss_ = 0;
  Exchange* exchange_ = nullptr;
  std::unique_ptr<Storage> gradients_;  // all of them in one piece, so that they are summed in one piece
  std::vector<float> wire_;
  std::atomic<bool> stop_{false};
};

}  // namespace caffe

// Time of a training step of several workers, one process and one compute thread each, with sums
// that are under way during backward and with sums that begin after it.
//   exchange_bench NET.prototxt WORLD STEPS [-netns PREFIX] [-interface I] [-memory shared|own]
//                  [-wire float32|bf16]
// Prints one JSON object: milliseconds per step of the slowest worker, in turns of the two, and the
// buckets: [milliseconds after the step's begin, bytes].
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <random>
#include <utility>
#include <vector>

#include "benchmarks/ranks.h"
#include "collective/sum_queue.h"
#include "core/log.h"
#include "io/prototxt.h"
#include "solvers/solver.h"

namespace caffe {
namespace {

using Clock = std::chrono::steady_clock;

// As the solver's own exchange; or every sum is kept back until the solver, after its backward
// pass, waits for it.
class BenchExchange : public Exchange {
 public:
  BenchExchange(Communicator& group, Wire wire) : group_(group), wire_(wire), queue_(group) {}
  void set_overlap(bool on) {
    overlap_ = on;
    if (on) buckets_.clear();
  }
  // Of the last step with overlap: when each sum was started, and how long it is.
  const std::vector<std::pair<Clock::time_point, size_t>>& buckets() const { return buckets_; }

  int rank() const override { return group_.rank(); }
  int world() const override { return group_.world(); }
  void sum(float* values, size_t count) override { group_.allreduce_sum(values, count); }
  void broadcast(void* data, size_t bytes, int root) override {
    group_.broadcast(data, bytes, root);
  }
  uint64_t start_sum(float* values, size_t count) override {
    return start(count, [=, this] { return queue_.push(values, count, wire_); });
  }
  uint64_t start_apply(float* values, float* results, size_t count, const Apply& apply) override {
    return start(count, [=, this, &apply] { return queue_.push(values, results, count, apply); });
  }
  Part owned(size_t count, int rank) const override { return group_.owned(count, rank); }
  bool done(uint64_t sum) override { return overlap_ ? queue_.done(sum) : carried_out_ >= sum; }
  void wait(uint64_t sum) override {
    if (overlap_) return queue_.wait(sum);
    for (; carried_out_ < sum; ++carried_out_) queue_.wait(kept_[carried_out_]());
  }
  bool rounds() const override { return wire_ != Wire::kFloat32; }
  void abandon(const Error& cause) noexcept override {
    group_.abort(cause.message());
    queue_.drain();
  }
  double seconds() const override { return 0; }

 private:
  uint64_t start(size_t count, std::function<uint64_t()> push) {
    if (overlap_) {
      buckets_.emplace_back(Clock::now(), count);
      return push();
    }
    kept_.push_back(std::move(push));
    return kept_.size();
  }

  Communicator& group_;
  Wire wire_;
  bool overlap_ = true;
  std::vector<std::pair<Clock::time_point, size_t>> buckets_;
  std::vector<std::function<uint64_t()>> kept_;
  uint64_t carried_out_ = 0;
  SumQueue queue_;
};

SolverParameter parameters(const std::string& net) {
  SolverParameter param;
  *param.mutable_net_param() = read_net(net);
  param.set_base_lr(0.001f);
  param.set_momentum(0.9f);
  param.set_weight_decay(0.0005f);
  param.set_lr_policy("fixed");
  param.set_max_iter(1 << 30);
  param.set_random_seed(1);
  return param;
}

void fill_inputs(Net& net) {
  std::mt19937 random(1);
  for (const int id : net.input_blobs()) {
    Blob& blob = *net.blobs()[static_cast<size_t>(id)];
    float* values = blob.overwrite_data<float>();
    const bool labels = blob.shape().axes() == 1;
    for (int64_t i = 0; i < blob.count(); ++i) {
      values[i] = labels ? static_cast<float>(random() % 10)
                         : std::normal_distribution<float>(0, 1)(random);
    }
  }
}

double slowest(Communicator& group, double mine) {
  double worst = 0;
  for (const std::string& bytes : group.allgather(std::to_string(mine))) {
    worst = std::max(worst, std::stod(bytes));
  }
  return worst;
}

void print_list(const char* before, const std::vector<double>& values) {
  std::cout << before;
  for (size_t i = 0; i < values.size(); ++i) std::cout << (i ? ", " : "") << values[i];
}

void measure(Communicator& group, const std::string& net, int steps, Wire wire) {
  set_log_threshold(Severity::kWarning);
  SolverOptions options;
  options.observed = std::vector<std::string>();
  options.rank = group.rank();
  options.world = group.world();
  Solver solver(parameters(net), options);
  fill_inputs(solver.net());
  const auto step = [&] {
    const auto start = Clock::now();
    solver.train_iteration();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  // One worker's step without anybody else, all at once as in the others.
  for (int i = 0; i < 3; ++i) step();
  std::vector<double> alone, with, without;
  for (int i = 0; i < steps; ++i) {
    group.barrier();
    alone.push_back(slowest(group, step()));
  }
  BenchExchange exchange(group, wire);
  solver.set_exchange(&exchange);
  for (int i = 0; i < 3; ++i) step();
  Clock::time_point begin;
  for (int i = 0; i < steps; ++i) {
    for (const bool overlap : {false, true}) {
      exchange.set_overlap(overlap);
      group.barrier();
      begin = Clock::now();
      (overlap ? with : without).push_back(slowest(group, step()));
    }
  }
  if (group.rank() != 0) return;
  print_list("{\"compute_ms\": [", alone);
  print_list("], \"overlap_ms\": [", with);
  print_list("], \"no_overlap_ms\": [", without);
  std::cout << "], \"buckets\": [";
  for (const auto& [start, count] : exchange.buckets()) {
    const double after = std::chrono::duration<double, std::milli>(start - begin).count();
    std::cout << (start == exchange.buckets()[0].first ? "[" : ", [") << after << ", "
              << count * sizeof(float) << "]";
  }
  std::cout << "]}" << std::endl;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: exchange_bench NET.prototxt WORLD STEPS [-netns PREFIX] [-interface I] "
                 "[-memory shared|own] [-wire float32|bf16]\n";
    return 2;
  }
  caffe::bench::Group group;
  group.world = std::atoi(argv[2]);
  caffe::Wire wire = caffe::Wire::kFloat32;
  for (int i = 4; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "-netns") == 0) {
      group.netns = argv[i + 1];
      group.interface = "";
    } else if (std::strcmp(argv[i], "-interface") == 0) {
      group.interface = argv[i + 1];
    } else if (std::strcmp(argv[i], "-memory") == 0) {
      group.share_memory = std::strcmp(argv[i + 1], "own") != 0;
    } else if (std::strcmp(argv[i + 1], "bf16") == 0) {
      wire = caffe::Wire::kBf16;
    }
  }
  try {
    return caffe::bench::run_ranks(group, [&](caffe::Communicator& ranks) {
      caffe::measure(ranks, argv[1], std::atoi(argv[3]), wire);
    });
  } catch (const std::exception& error) {
    std::cerr << "exchange_bench: " << error.what() << "\n";
    return 2;
  }
}

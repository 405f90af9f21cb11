#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capi/caffe_c.h"
#include "capi/comm.h"
#include "capi/compute_thread.h"
#include "capi/options.h"
#include "capi/status.h"
#include "capi/values.h"
#include "net/upgrade.h"
#include "solvers/solver.h"

using caffe::capi::given;
using caffe::capi::guarded;
using caffe::capi::Options;

struct caffe_solver {
  explicit caffe_solver(int threads) : compute(threads) {}
  ~caffe_solver() {
    compute.run([this] { solver.reset(); });
  }

  caffe::capi::ComputeThread compute;
  std::unique_ptr<caffe::Exchange> exchange;
  std::unique_ptr<caffe::Solver> solver;
  std::vector<caffe::Net::LayerTime> times;  // of all iterations, by layer
  int64_t timed = 0;                         // iterations
  bool keeps_state = false;                  // after the next step
  caffe_comm* comm = nullptr;
  int rank = 0;
  int world = 1;
  std::atomic<bool> cancelled{false};
};

namespace {

caffe::SolverParameter parse_solver(const uint8_t* bytes, size_t size) {
  caffe::SolverParameter param;
  CAFFE_REQUIRE(
      size <= INT32_MAX && param.ParseFromArray(given(bytes, "solver"), static_cast<int>(size)),
      "the ", size, " bytes given as solver are no serialised SolverParameter");
  caffe::upgrade_solver("solver", &param);
  return param;
}

caffe::SolverOptions solver_options(const Options& options) {
  caffe::SolverOptions result;
  result.observed = std::vector<std::string>();
  result.world = static_cast<int>(options.integer("world", 1, 1));
  result.rank = static_cast<int>(options.integer("rank", 0, 0));
  CAFFE_REQUIRE(result.rank < result.world, "caffe_solver_create: there is no rank ", result.rank,
                " among ", result.world, " workers");
  result.weights = options.text("weights");
  result.state = options.text("state");
  result.shuffle = options.flag("shuffle");
  result.resize = options.flag("resize");
  result.data_threads = static_cast<int>(options.integer("data_threads", 1, 1));
  result.continue_data = options.flag("continue_data");
  result.memory_limit = static_cast<size_t>(options.integer("memory_limit", 0, 0));
  if (options.has("precision")) result.precision = options.precision();
  if (options.has("first_batch")) result.first_batch = options.integer("first_batch", 0, 0);
  if (options.has("seed")) result.seed = static_cast<uint64_t>(options.integer("seed", 0, 0));
  return result;
}

// Records that this rank consumes in one iteration: those of the first layer that makes a batch.
int64_t records_per_iteration(caffe::Solver& solver) {
  const caffe::Net& net = solver.net();
  for (int i = 0; i < net.layer_count(); ++i) {
    if (!net.bottom_ids(i).empty() || net.top_ids(i).empty()) continue;
    const caffe::Blob& top = *net.blobs()[static_cast<size_t>(net.top_ids(i)[0])];
    return top.shape().axes() > 0 ? top.shape()[0] * solver.param().iter_size() : 0;
  }
  return 0;
}

caffe_progress step(caffe_solver& handle, int64_t iterations) {
  using Clock = std::chrono::steady_clock;
  caffe::Solver& solver = *handle.solver;
  const auto start = Clock::now();
  const double data_before = solver.net().data_seconds();
  const double comm_before = handle.exchange ? handle.exchange->seconds() : 0;
  caffe_progress progress{};
  for (int64_t i = 0; i < iterations; ++i) {
    CAFFE_REQUIRE_CODE(!handle.cancelled, caffe::ErrorCode::kCancelled,
                       "training was cancelled at iteration ", solver.iter());
    if (i + 1 == iterations && std::exchange(handle.keeps_state, false)) solver.keep_state();
    const caffe::Solver::StepResult result = solver.train_iteration();
    progress.loss = result.loss;
    progress.learning_rate = result.learning_rate;
  }
  handle.timed += iterations;
  progress.iter = solver.iter();
  progress.smoothed_loss = solver.smoothed_loss();
  progress.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  progress.data_seconds = solver.net().data_seconds() - data_before;
  progress.comm_seconds = handle.exchange ? handle.exchange->seconds() - comm_before : 0;
  progress.records = iterations * records_per_iteration(solver);
  return progress;
}

const caffe::Net& test_net(const caffe_solver& handle, int index) {
  const auto& nets = handle.solver->test_nets();
  CAFFE_REQUIRE(index >= 0 && static_cast<size_t>(index) < nets.size(), "there is no test net ",
                index, ": the solver has ", nets.size());
  return *nets[static_cast<size_t>(index)];
}

// Whatever error a cancelled call ended with, its cause was the cancelling.
template <typename Work>
int guarded_until_cancelled(caffe_solver* handle, Work&& work) {
  const int status = guarded([&] {
    given(handle, "solver");
    CAFFE_REQUIRE_CODE(!handle->cancelled, caffe::ErrorCode::kCancelled,
                       "the solver was cancelled");
    work();
  });
  return status != CAFFE_OK && handle && handle->cancelled ? static_cast<int>(CAFFE_CANCELLED)
                                                           : status;
}

}  // namespace

extern "C" {

int caffe_solver_create(const uint8_t* solver, size_t size, const char* options,
                        caffe_solver** handle) {
  return guarded([&] {
    given(handle, "handle");
    const Options parsed(
        "caffe_solver_create", options,
        {"rank", "world", "threads", "weights", "state", "continue_data", "first_batch", "shuffle",
         "seed", "resize", "data_threads", "memory_limit", "precision"});
    const caffe::SolverOptions chosen = solver_options(parsed);
    const caffe::SolverParameter param = parse_solver(solver, size);
    auto created =
        std::make_unique<caffe_solver>(static_cast<int>(parsed.integer("threads", 0, 0)));
    created->rank = chosen.rank;
    created->world = chosen.world;
    created->compute.run([&] { created->solver = std::make_unique<caffe::Solver>(param, chosen); });
    caffe::Net& net = created->solver->net();
    created->times.resize(net.layers().size());
    net.profile(&created->times);
    *handle = created.release();
  });
}

uint64_t caffe_solver_config_hash(const caffe_solver* solver) {
  uint64_t hash = 0;
  guarded([&] { hash = given(solver, "solver")->solver->config_hash(); });
  return hash;
}

int caffe_solver_set_comm(caffe_solver* solver, caffe_comm* comm) {
  return guarded([&] {
    given(solver, "solver"), given(comm, "comm");
    CAFFE_REQUIRE(!solver->exchange, "the solver has joined a group before; make a new one");
    auto exchange = caffe::capi::make_exchange(*comm);
    CAFFE_REQUIRE(exchange->rank() == solver->rank && exchange->world() == solver->world,
                  "the group says rank ", exchange->rank(), " of ", exchange->world(),
                  ", the solver was created as rank ", solver->rank, " of ", solver->world);
    solver->exchange = std::move(exchange);
    solver->comm = comm;
    solver->compute.run([&] { solver->solver->set_exchange(solver->exchange.get()); });
  });
}

int64_t caffe_solver_iter(const caffe_solver* solver) {
  return solver ? solver->solver->iter() : 0;
}

int64_t caffe_solver_max_iter(const caffe_solver* solver) {
  return solver ? solver->solver->max_iter() : 0;
}

int caffe_solver_step(caffe_solver* solver, int64_t iterations, caffe_progress* progress) {
  return guarded_until_cancelled(solver, [&] {
    CAFFE_REQUIRE(iterations >= 0, "caffe_solver_step: ", iterations, " iterations were asked for");
    const caffe_progress result = solver->compute.run([&] { return step(*solver, iterations); });
    if (progress) *progress = result;
  });
}

int caffe_solver_test_nets(const caffe_solver* solver) {
  return solver ? static_cast<int>(solver->solver->test_nets().size()) : 0;
}

int caffe_solver_test(caffe_solver* solver, int index, caffe_outputs** outputs) {
  return guarded_until_cancelled(solver, [&] {
    given(outputs, "outputs");
    test_net(*solver, index);
    *outputs = new caffe_outputs{solver->compute.run([&] { return solver->solver->test(index); })};
  });
}

int caffe_solver_test_output_names(const caffe_solver* solver, int index, caffe_strings** names) {
  return guarded([&] {
    const caffe::Net& net = test_net(*given(solver, "solver"), index);
    given(names, "names");
    std::vector<std::string> list;
    for (const int blob : net.output_blobs())
      list.push_back(net.blob_names()[static_cast<size_t>(blob)]);
    *names = caffe::capi::make_strings(std::move(list));
  });
}

int caffe_solver_layer_times(const caffe_solver* solver, caffe_outputs** times) {
  return guarded([&] {
    given(solver, "solver"), given(times, "times");
    auto result = std::make_unique<caffe_outputs>();
    const double count = static_cast<double>(std::max<int64_t>(1, solver->timed));
    const auto mean = [count](double seconds) { return static_cast<float>(seconds / count); };
    for (size_t i = 0; i < solver->times.size(); ++i) {
      const caffe::Layer& layer = *solver->solver->net().layers()[i];
      const caffe::Net::LayerTime& time = solver->times[i];
      result->items.push_back(
          {layer.name() + " (" + layer.type() + ")", {mean(time.forward), mean(time.backward)}});
    }
    *times = result.release();
  });
}

int caffe_solver_keep_state(caffe_solver* solver) {
  return guarded([&] { given(solver, "solver")->keeps_state = true; });
}

int caffe_solver_snapshot(caffe_solver* solver, const char* model_path, const char* state_path,
                          const char* learned_net) {
  return guarded([&] {
    given(solver, "solver"), given(model_path, "model_path");
    solver->compute.run([&] {
      solver->solver->write_snapshot(model_path, state_path ? state_path : "",
                                     learned_net ? learned_net : model_path);
    });
  });
}

void caffe_solver_cancel(caffe_solver* solver) {
  if (solver == nullptr) return;
  solver->cancelled = true;
  guarded([&] {
    solver->solver->cancel();
    if (solver->comm) caffe_comm_abort(solver->comm, "its training was cancelled");
  });
}

void caffe_solver_free(caffe_solver* solver) {
  if (solver == nullptr) return;
  delete solver;
  // Nets and snapshots are made by many threads, each with an arena of malloc's, which keeps what
  // was freed in its middle: without this a process that trains again and again grows for long.
  malloc_trim(0);
}

}  // extern "C"

// `caffe train`: trains or finetunes a net, in one process or in several.

#include <omp.h>

#include <cstdlib>
#include <optional>

#include "collective/sum_queue.h"
#include "core/random.h"
#include "io/prototxt.h"
#include "solvers/exchange.h"
#include "solvers/solver.h"
#include "tools/commands/commands.h"
#include "tools/commands/progress_bar.h"
#include "tools/commands/workers.h"
#include "tools/common/command.h"
#include "tools/common/signals.h"

namespace caffe {
namespace {

constexpr int64_t kMostWorkers = 256;

void train_flags(Flags* flags) {
  flags->add("solver", "FILE", "", "the solver's prototxt; needed")
      .add("snapshot", "FILE", "", "a .solverstate or .solverstate.h5 to resume from")
      .add("weights", "FILES", "",
           "comma-separated .caffemodel or .caffemodel.h5 files to start from (finetuning)")
      .add("workers", "N", "1",
           "worker processes on this machine; each takes batch_size records, gradients are "
           "averaged")
      .add("sigint_effect", "EFFECT", "stop",
           "what SIGINT (Ctrl-C) does: snapshot; stop, with a snapshot; or none")
      .add("sighup_effect", "EFFECT", "snapshot", "what SIGHUP does: the same words");
  add_state_flags(flags);
  add_threads_flag(flags);
  add_precision_flag(flags, "as the solver says");
  add_memory_limit_flag(flags);
  add_gpu_flag(flags);
}

void check_flags(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("solver"), "needs a solver: -solver FILE");
  CAFFE_REQUIRE(!flags.given("snapshot") || !flags.given("weights"),
                "give a snapshot to resume training or weights to finetune but not both");
  precision_flag(flags);  // before any worker starts
  refuse_gpu(flags);
}

SolverParameter solver_parameter(const Flags& flags) {
  SolverParameter param = read_solver(flags.text("solver"));
  param.mutable_train_state()->set_level(static_cast<int32_t>(flags.number("level", 0)));
  for (const std::string& stage : flags.list("stage"))
    param.mutable_train_state()->add_stage(stage);
  if (flags.given("weights")) {
    param.clear_weights();
    for (const std::string& file : flags.list("weights")) param.add_weights(file);
  }
  return param;
}

// What one process does; `worker` is null if it is the only one.
void optimize(const SolverParameter& param, const Flags& flags, Worker* worker) {
  SolverOptions options;
  options.observed.emplace();
  options.memory_limit = memory_limit_flag(flags);
  options.precision = precision_flag(flags);
  if (worker != nullptr) {
    options.rank = worker->rank();
    options.world = worker->world();
    options.seed = worker->seed();
  }
  std::optional<GroupExchange<Communicator, SumQueue, Wire>> exchange;
  Solver solver(param, options);
  if (flags.given("snapshot")) {
    CAFFE_COMMAND_LOG("Resuming from ", flags.text("snapshot"));
    solver.restore(flags.text("snapshot"));
  }
  if (worker == nullptr) {
    solver.set_requests(SignalRequests::next);
  } else {
    exchange.emplace(worker->connect(solver.config_hash()), Wire::kFloat32);
    solver.set_exchange(&*exchange);
    solver.set_requests([worker] { return worker->next_request(); });
  }
  std::optional<ProgressBar> bar;
  if (options.rank == 0 && terminal_for_progress()) bar.emplace(solver);
  CAFFE_COMMAND_LOG("Starting Optimization");
  solver.solve();
  CAFFE_COMMAND_LOG("Optimization Done.");
}

// Threads of each worker; 0: its share of the cores.
int threads_of_workers(const Flags& flags) {
  apply_threads_flag(flags);
  const bool chosen = flags.given("threads") || std::getenv("OMP_NUM_THREADS") != nullptr;
  return chosen ? omp_get_max_threads() : 0;
}

void train(const Flags& flags) {
  check_flags(flags);
  const int64_t workers = flags.number("workers", 1);
  CAFFE_REQUIRE(workers <= kMostWorkers, "-workers ", workers, " is more than ", kMostWorkers,
                "; for many machines there is the Spark package");
  SignalRequests signals(flags.text("sigint_effect"), flags.text("sighup_effect"));
  const SolverParameter param = solver_parameter(flags);
  CAFFE_COMMAND_LOG("Use CPU.");
  CAFFE_COMMAND_LOG("Initializing solver from parameters: \n", print_text(param));
  if (workers == 1) {
    apply_threads_flag(flags);
    optimize(param, flags, nullptr);
    return;
  }
  WorkersOptions options;
  options.world = static_cast<int>(workers);
  options.threads = threads_of_workers(flags);
  options.seed =
      param.random_seed() >= 0 ? static_cast<uint64_t>(param.random_seed()) : default_seed();
  CAFFE_COMMAND_LOG("Starting ", workers, " workers.");
  run_workers(options, SignalRequests::next,
              [&](Worker& worker) { optimize(param, flags, &worker); });
}

const char* const kAbout =
    "Trains the net of a solver to max_iter, with the tests, displayed losses and snapshots that "
    "the solver asks for. A snapshot is two files: PREFIX_iter_N.caffemodel, the weights, and "
    "PREFIX_iter_N.solverstate, from which -snapshot resumes.\n"
    "\n"
    "With -workers N, N processes on this machine train together: learning rate and batch size "
    "stay each worker's own, so that 4 workers with batch_size 64 do what one does with 256. The "
    "cores are shared out evenly. If one fails, all end.\n"
    "\n"
    "A first Ctrl-C ends training after the running iteration, with a snapshot; a second one at "
    "once. kill -HUP takes a snapshot. On a terminal the last line shows how far training is.\n"
    "\n"
    "examples:\n"
    "caffe train -solver lenet_solver.prototxt\n"
    "caffe train -solver lenet_solver.prototxt -snapshot lenet_iter_5000.solverstate\n"
    "caffe train -solver finetune_solver.prototxt -weights caffenet.caffemodel -workers 2";

}  // namespace

Command train_command() { return {"trains or finetunes a net", kAbout, train_flags, train}; }

}  // namespace caffe

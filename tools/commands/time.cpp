// `caffe time`: measures a net.

#include <cmath>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "core/clock.h"
#include "io/prototxt.h"
#include "tools/commands/arithmetic.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

constexpr double kPeakSeconds = 0.3;  // of the test of what the machine can do

double milliseconds_since(Clock::time_point start) { return 1000 * seconds_since(start); }

void time_flags(Flags* flags) {
  flags->add("model", "FILE", "", "the net's prototxt; needed")
      .add("weights", "FILES", "", "comma-separated models to load first; not needed")
      .add("iterations", "N", "50", "number of passes");
  add_phase_flag(flags);
  add_state_flags(flags);
  add_threads_flag(flags);
  add_precision_flag(flags);
  add_gpu_flag(flags);
}

// Mean milliseconds of every layer. One that runs as part of another has its time there, and the
// line says so.
void report_layers(const Net& net, const std::vector<Net::LayerTime>& times, int64_t passes) {
  const auto mean = [&](double seconds) { return 1000 * seconds / static_cast<double>(passes); };
  CAFFE_COMMAND_LOG("Average time per layer: ");
  for (const Plan::Step& step : net.plan().steps()) {
    const std::string& head = net.layers()[static_cast<size_t>(step.first)]->name();
    for (int i = step.first; i <= step.last; ++i) {
      const Net::LayerTime& time = times[static_cast<size_t>(i)];
      std::ostringstream name;
      name << std::setfill(' ') << std::setw(10) << net.layers()[static_cast<size_t>(i)]->name();
      const std::string note = i == step.first ? "" : " (runs as part of " + head + ")";
      CAFFE_COMMAND_LOG(name.str(), "\tforward: ", mean(time.forward), " ms.", note);
      CAFFE_COMMAND_LOG(name.str(), "\tbackward: ", mean(time.backward), " ms.", note);
    }
  }
}

// "12.3 ms  45.6 GFLOP/s  78 %"; without operations the time alone.
std::string speed(double seconds, double operations, double peak) {
  std::ostringstream cell;
  cell << std::fixed << std::setprecision(3) << std::setw(10) << 1000 * seconds;
  if (operations > 0 && seconds > 0) {
    const double rate = operations / seconds;
    cell << std::setprecision(1) << std::setw(10) << rate / 1e9 << std::setw(9) << 100 * rate / peak
         << " %";
  } else {
    cell << std::string(21, ' ');
  }
  return cell.str();
}

// A row for each step of the plan, on standard output: milliseconds, billions of operations per
// second, and their share of the peak, each way.
void print_speeds(const Net& net, const std::vector<Net::LayerTime>& times, int64_t passes,
                  Precision precision, double peak) {
  std::cout << "peak of this machine, " << name_of(precision)
            << ", with the threads of this run: " << std::lround(peak / 1e9) << " GFLOP/s\n"
            << "forward: ms, GFLOP/s, of peak   backward: ms, GFLOP/s, of peak   layers\n";
  Arithmetic all;
  Net::LayerTime sum;
  for (const Plan::Step& step : net.plan().steps()) {
    Arithmetic work;
    Net::LayerTime time;
    std::string names;
    for (int i = step.first; i <= step.last; ++i) {
      const Arithmetic own = arithmetic_of(net, i);
      work.forward += own.forward;
      work.backward += own.backward;
      time.forward += times[static_cast<size_t>(i)].forward / static_cast<double>(passes);
      time.backward += times[static_cast<size_t>(i)].backward / static_cast<double>(passes);
      names += (names.empty() ? "" : " + ") + net.layers()[static_cast<size_t>(i)]->name();
    }
    std::cout << speed(time.forward, work.forward, peak) << "  "
              << speed(time.backward, work.backward, peak) << "  " << names << "\n";
    all.forward += work.forward;
    all.backward += work.backward;
    sum.forward += time.forward;
    sum.backward += time.backward;
  }
  std::cout << speed(sum.forward, all.forward, peak) << "  "
            << speed(sum.backward, all.backward, peak) << "  all\n"
            << std::flush;
}

void time(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("model"), "needs a model definition to time: -model FILE");
  refuse_gpu(flags);
  apply_threads_flag(flags);
  const int64_t passes = flags.number("iterations", 1);
  CAFFE_COMMAND_LOG("Use CPU.");
  const NetOptions options = net_options(flags, phase_flag(flags));
  Net net(read_net(flags.text("model")), options);
  if (flags.given("weights")) net.load_weights(flags.text("weights"));
  CAFFE_COMMAND_LOG("Performing Forward");
  CAFFE_COMMAND_LOG("Initial loss: ", net.forward());
  CAFFE_COMMAND_LOG("Performing Backward");
  net.backward();
  CAFFE_COMMAND_LOG("*** Benchmark begins ***");
  CAFFE_COMMAND_LOG("Testing for ", passes, " iterations.");
  const double peak = measure_peak(options.precision, kPeakSeconds);
  std::vector<Net::LayerTime> times(net.layers().size());
  net.profile(&times);
  const double waited_before = net.data_seconds();
  double forward = 0;
  double backward = 0;
  const auto begin = Clock::now();
  for (int64_t pass = 0; pass < passes; ++pass) {
    const auto start = Clock::now();
    net.clear_parameter_diffs();
    net.forward();
    const double split = milliseconds_since(start);
    net.backward();
    const double both = milliseconds_since(start);
    forward += split;
    backward += both - split;
    CAFFE_COMMAND_LOG("Iteration: ", pass + 1, " forward-backward time: ", both, " ms.");
  }
  const double total = milliseconds_since(begin);
  const double count = static_cast<double>(passes);
  report_layers(net, times, passes);
  CAFFE_COMMAND_LOG("Average Forward pass: ", forward / count, " ms.");
  CAFFE_COMMAND_LOG("Average Backward pass: ", backward / count, " ms.");
  CAFFE_COMMAND_LOG("Average Forward-Backward: ", total / count, " ms.");
  CAFFE_COMMAND_LOG("Average wait for data: ", 1000 * (net.data_seconds() - waited_before) / count,
                    " ms.");
  CAFFE_COMMAND_LOG("Total Time: ", total, " ms.");
  CAFFE_COMMAND_LOG("*** Benchmark ends ***");
  print_speeds(net, times, passes, options.precision, peak);
}

const char* const kAbout =
    "Runs forward and backward passes and logs the mean time of every layer, of both directions, "
    "and of waiting for data; then prints a table of what the steps of the plan reach, in "
    "operations "
    "of matrix products and convolutions per second, and as a share of what a large product of "
    "matrices reaches on this machine. A layer that runs as part of another has its time there, "
    "and its "
    "line says so; `caffe plan` shows which.\n"
    "\n"
    "example:\n"
    "caffe time -model lenet_train_test.prototxt -iterations 20";

}  // namespace

Command time_command() { return {"measures how long each layer takes", kAbout, time_flags, time}; }

}  // namespace caffe

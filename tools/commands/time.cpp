// `caffe time`: measures a net.

#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "core/clock.h"
#include "io/prototxt.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

double milliseconds_since(Clock::time_point start) { return 1000 * seconds_since(start); }

void time_flags(Flags* flags) {
  flags->add("model", "FILE", "", "the net's prototxt; needed")
      .add("weights", "FILES", "", "comma-separated models to load first; not needed")
      .add("iterations", "N", "50", "number of passes");
  add_phase_flag(flags);
  add_state_flags(flags);
  add_threads_flag(flags);
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

void time(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("model"), "needs a model definition to time: -model FILE");
  refuse_gpu(flags);
  apply_threads_flag(flags);
  const int64_t passes = flags.number("iterations", 1);
  CAFFE_COMMAND_LOG("Use CPU.");
  Net net(read_net(flags.text("model")), net_options(flags, phase_flag(flags)));
  if (flags.given("weights")) net.load_weights(flags.text("weights"));
  CAFFE_COMMAND_LOG("Performing Forward");
  CAFFE_COMMAND_LOG("Initial loss: ", net.forward());
  CAFFE_COMMAND_LOG("Performing Backward");
  net.backward();
  CAFFE_COMMAND_LOG("*** Benchmark begins ***");
  CAFFE_COMMAND_LOG("Testing for ", passes, " iterations.");
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
}

const char* const kAbout =
    "Runs forward and backward passes and logs the mean time of every layer, of both directions, "
    "and of waiting for data. A layer that runs as part of another has its time there, and its "
    "line says so; `caffe plan` shows which.\n"
    "\n"
    "example:\n"
    "caffe time -model lenet_train_test.prototxt -iterations 20";

}  // namespace

Command time_command() { return {"measures how long each layer takes", kAbout, time_flags, time}; }

}  // namespace caffe

// The `caffe` command: trains, tests and times nets, and shows what the engine makes of them.

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/random.h"
#include "io/prototxt.h"
#include "net/net.h"
#include "solvers/solver.h"
#include "tools/common/command.h"
#include "tools/common/flags.h"
#include "tools/common/signals.h"

namespace caffe {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// ---- flags that several commands have ----

void add_state_flags(Flags* flags) {
  flags->add("level", "0", "level of the net's state, for include and exclude rules")
      .add("stage", "", "comma-separated stages of the net's state");
}

void add_gpu_flag(Flags* flags) { flags->add("gpu", "", "devices, comma-separated, or \"all\""); }

void refuse_gpu(const Flags& flags) {
  CAFFE_REQUIRE(flags.text("gpu").empty(), "-gpu ", flags.text("gpu"),
                " asks for a GPU, and this build computes on the CPU only; leave -gpu out");
}

Phase phase_flag(const Flags& flags) {
  const std::string& word = flags.text("phase");
  Phase phase = TRAIN;
  CAFFE_REQUIRE(word.empty() || Phase_Parse(word, &phase), "flag -phase is TRAIN or TEST, not \"",
                word, "\"");
  return phase;
}

// Of a net that nobody looks into: what a solver runs.
NetOptions net_options(const Flags& flags, Phase phase) {
  NetOptions options;
  options.phase = phase;
  options.level = static_cast<int>(flags.number("level", 0));
  options.stages = flags.list("stage");
  options.observed.emplace();
  options.seed = default_seed();
  return options;
}

// " (* 1 = 2.3 loss)" for a blob that counts in the objective.
std::string loss_share(float weight, float value) {
  return weight == 0 ? "" : concat(" (* ", weight, " = ", weight * value, " loss)");
}

// ---- caffe train ----

void train_flags(Flags* flags) {
  flags->add("solver", "", "the solver's prototxt")
      .add("snapshot", "", "a .solverstate or .solverstate.h5 to resume from")
      .add("weights", "", "comma-separated .caffemodel or .caffemodel.h5 files to start from")
      .add("sigint_effect", "stop", "what SIGINT does: snapshot, stop or none")
      .add("sighup_effect", "snapshot", "what SIGHUP does: snapshot, stop or none");
  add_state_flags(flags);
  add_gpu_flag(flags);
}

void train(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("solver"), "needs a solver: -solver FILE");
  CAFFE_REQUIRE(!flags.given("snapshot") || !flags.given("weights"),
                "give a snapshot to resume training or weights to finetune but not both");
  refuse_gpu(flags);
  SignalRequests signals(flags.text("sigint_effect"), flags.text("sighup_effect"));
  SolverParameter param = read_solver(flags.text("solver"));
  CAFFE_LOG_INFO("Use CPU.");
  if (flags.given("level")) {
    param.mutable_train_state()->set_level(static_cast<int32_t>(flags.number("level", 0)));
  }
  for (const std::string& stage : flags.list("stage"))
    param.mutable_train_state()->add_stage(stage);
  if (flags.given("weights")) {
    param.clear_weights();
    for (const std::string& file : flags.list("weights")) param.add_weights(file);
  }
  CAFFE_LOG_INFO("Initializing solver from parameters: \n", print_text(param));
  SolverOptions options;
  options.observed.emplace();
  Solver solver(param, options);
  solver.set_requests(SignalRequests::next);
  if (flags.given("snapshot")) {
    CAFFE_LOG_INFO("Resuming from ", flags.text("snapshot"));
    solver.restore(flags.text("snapshot"));
  }
  CAFFE_LOG_INFO("Starting Optimization");
  solver.solve();
  CAFFE_LOG_INFO("Optimization Done.");
}

// ---- caffe test ----

void test_flags(Flags* flags) {
  flags->add("model", "", "the net's prototxt")
      .add("weights", "", "comma-separated .caffemodel or .caffemodel.h5 files")
      .add("iterations", "50", "number of batches");
  add_state_flags(flags);
  add_gpu_flag(flags);
}

// Sums of the outputs' elements over batches.
class OutputSums {
 public:
  explicit OutputSums(const Net& net) : net_(net) {}

  void add_batch(int64_t batch) {
    size_t at = 0;
    for (const int id : net_.output_blobs()) {
      const Blob& blob = *net_.blobs()[static_cast<size_t>(id)];
      const float* values = blob.data_as<float>();
      for (int64_t i = 0; i < blob.count(); ++i, ++at) {
        if (batch == 0) sums_.push_back({id, 0});
        CAFFE_REQUIRE(at < sums_.size() && sums_[at].blob == id,
                      "the outputs of the net changed their shape between ",
                      "batches; its records must have one shape");
        sums_[at].sum += values[i];
        CAFFE_LOG_INFO("Batch ", batch, ", ", name(id), " = ", values[i]);
      }
    }
  }

  void report(int64_t batches) const {
    for (const Element& element : sums_) {
      const float mean = static_cast<float>(element.sum / static_cast<double>(batches));
      CAFFE_LOG_INFO(name(element.blob), " = ", mean,
                     loss_share(net_.loss_weight(element.blob), mean));
    }
  }

 private:
  struct Element {
    int blob;
    double sum;
  };
  const std::string& name(int blob) const { return net_.blob_names()[static_cast<size_t>(blob)]; }

  const Net& net_;
  std::vector<Element> sums_;
};

void test(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("model"), "needs a model definition to score: -model FILE");
  CAFFE_REQUIRE(flags.given("weights"), "needs model weights to score: -weights FILE");
  refuse_gpu(flags);
  const int64_t batches = flags.number("iterations", 1);
  NetOptions options = net_options(flags, TEST);
  options.forward_only = true;
  CAFFE_LOG_INFO("Use CPU.");
  Net net(read_net(flags.text("model")), options);
  net.load_weights(flags.text("weights"));
  CAFFE_LOG_INFO("Running for ", batches, " iterations.");
  OutputSums outputs(net);
  double loss = 0;
  for (int64_t batch = 0; batch < batches; ++batch) {
    loss += net.forward();
    outputs.add_batch(batch);
  }
  CAFFE_LOG_INFO("Loss: ", loss / static_cast<double>(batches));
  outputs.report(batches);
}

// ---- caffe time ----

void time_flags(Flags* flags) {
  flags->add("model", "", "the net's prototxt")
      .add("iterations", "50", "number of passes")
      .add("phase", "", "TRAIN or TEST (default: TRAIN)");
  add_state_flags(flags);
  add_gpu_flag(flags);
}

// Mean milliseconds of every layer. One that runs as part of another has its time there, and the
// line says so.
void report_layers(const Net& net, const std::vector<Net::LayerTime>& times, int64_t passes) {
  const auto mean = [&](double seconds) { return 1000 * seconds / static_cast<double>(passes); };
  CAFFE_LOG_INFO("Average time per layer: ");
  for (const Plan::Step& step : net.plan().steps()) {
    const std::string& head = net.layers()[static_cast<size_t>(step.first)]->name();
    for (int i = step.first; i <= step.last; ++i) {
      const Net::LayerTime& time = times[static_cast<size_t>(i)];
      std::ostringstream name;
      name << std::setfill(' ') << std::setw(10) << net.layers()[static_cast<size_t>(i)]->name();
      const std::string note = i == step.first ? "" : " (runs as part of " + head + ")";
      CAFFE_LOG_INFO(name.str(), "\tforward: ", mean(time.forward), " ms.", note);
      CAFFE_LOG_INFO(name.str(), "\tbackward: ", mean(time.backward), " ms.", note);
    }
  }
}

void time(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("model"), "needs a model definition to time: -model FILE");
  refuse_gpu(flags);
  const int64_t passes = flags.number("iterations", 1);
  CAFFE_LOG_INFO("Use CPU.");
  Net net(read_net(flags.text("model")), net_options(flags, phase_flag(flags)));
  CAFFE_LOG_INFO("Performing Forward");
  CAFFE_LOG_INFO("Initial loss: ", net.forward());
  CAFFE_LOG_INFO("Performing Backward");
  net.backward();
  CAFFE_LOG_INFO("*** Benchmark begins ***");
  CAFFE_LOG_INFO("Testing for ", passes, " iterations.");
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
    CAFFE_LOG_INFO("Iteration: ", pass + 1, " forward-backward time: ", both, " ms.");
  }
  const double total = milliseconds_since(begin);
  const double count = static_cast<double>(passes);
  report_layers(net, times, passes);
  CAFFE_LOG_INFO("Average Forward pass: ", forward / count, " ms.");
  CAFFE_LOG_INFO("Average Backward pass: ", backward / count, " ms.");
  CAFFE_LOG_INFO("Average Forward-Backward: ", total / count, " ms.");
  CAFFE_LOG_INFO("Average wait for data: ", 1000 * (net.data_seconds() - waited_before) / count,
                 " ms.");
  CAFFE_LOG_INFO("Total Time: ", total, " ms.");
  CAFFE_LOG_INFO("*** Benchmark ends ***");
}

// ---- caffe plan ----

void plan_flags(Flags* flags) {
  flags->add("model", "", "the net's prototxt; may also stand without a flag")
      .add("phase", "", "TRAIN or TEST (default: TRAIN)");
  add_state_flags(flags);
}

void plan(const Flags& flags) {
  const std::vector<std::string>& names = flags.positional();
  const bool named = names.size() > 1;
  CAFFE_REQUIRE(named != flags.given("model"), "needs one model definition: caffe plan FILE");
  const Phase phase = phase_flag(flags);
  NetOptions options = net_options(flags, phase);
  options.forward_only = phase == TEST;
  const Net net(read_net(named ? names[1] : flags.text("model")), options);
  std::cout << net.plan_text() << std::flush;
}

// ---- caffe device_query ----

void device_query(const Flags& flags) {
  refuse_gpu(flags);
  std::string processor = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      processor = line.substr(colon + 2);
      break;
    }
  }
  std::cout << "Device: CPU\nName: " << processor
            << "\nHardware threads: " << std::thread::hardware_concurrency() << std::endl;
}

// ---- main ----

struct Command {
  const char* help;
  void (*add_flags)(Flags*);
  void (*run)(const Flags&);
};

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> all = {
      {"train", {"trains or finetunes a net", train_flags, train}},
      {"test", {"scores a net", test_flags, test}},
      {"time", {"measures how long each layer takes", time_flags, time}},
      {"plan", {"shows how each layer of a net will run: caffe plan NET", plan_flags, plan}},
      {"device_query", {"shows what nets can run on", add_gpu_flag, device_query}},
  };
  return all;
}

std::string usage() {
  std::string text = "usage: caffe COMMAND [FLAGS]\n\ncommands:\n";
  for (const auto& [name, command] : commands()) {
    text += "  " + name + std::string(14 - name.size(), ' ') + command.help + "\n";
  }
  return text + "\n'caffe COMMAND -help' lists the flags of a command.\n";
}

bool asks_for_help(const std::string& word) {
  return word == "-help" || word == "--help" || word == "-h";
}

// The command is the first word without a dash that is one: its flags may come before it, as with
// gflags.
std::string command_of(const std::vector<std::string>& arguments) {
  for (const std::string& word : arguments) {
    if (commands().count(word) > 0) return word;
  }
  std::string known;
  for (const auto& entry : commands()) known += (known.empty() ? "" : ", ") + entry.first;
  fail(ErrorCode::kInvalidArgument,
       arguments.empty() ? "no command" : "unknown command " + arguments[0],
       " (known commands: ", known, "); 'caffe -help' says more");
}

void run(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && asks_for_help(arguments[0])) {
    std::cout << usage();
    return;
  }
  const std::string name = command_of(arguments);
  const Command& command = commands().at(name);
  Flags flags;
  command.add_flags(&flags);
  add_log_flags(&flags);
  for (const std::string& word : arguments) {
    if (!asks_for_help(word)) continue;
    std::cout << "caffe " << name << ": " << command.help << "\n\n" << flags.help();
    return;
  }
  flags.parse(arguments);
  const std::vector<std::string>& words = flags.positional();
  CAFFE_REQUIRE(!words.empty() && words[0] == name, "the command comes first: caffe ", name,
                " [FLAGS]");
  CAFFE_REQUIRE(words.size() <= (name == "plan" ? 2u : 1u), "caffe ", name,
                " does not know what to do with \"", words.back(), "\"");
  apply_log_flags(flags);
  command.run(flags);
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  caffe::start_with_passive_threads(argv);
  return caffe::run_command("caffe",
                            [&] { caffe::run(std::vector<std::string>(argv + 1, argv + argc)); });
}

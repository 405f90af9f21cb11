// Time of a training step (forward, backward, SGD update) or of an inference (forward alone) of a
// net with Input layers, on random data.
//
// usage: step_bench NET.prototxt STEPS [--inference] [--bf16] [--batch N] [--layers]
//
// Prints `ready` when the first step is done, then one JSON object: wall and processor milliseconds
// of each step, and the process's peak resident memory; with --layers also each layer's share and
// the plan.

#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/log.h"
#include "io/prototxt.h"
#include "layers/filler.h"
#include "solvers/solver.h"

namespace caffe {
namespace {

struct Arguments {
  std::string net;
  int steps = 0;
  bool inference = false;
  Precision precision = Precision::kF32;
  int batch = 0;  // 0: the prototxt's
  bool layers = false;
};

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

void print_list(const char* before, const std::vector<double>& values) {
  std::cout << before;
  for (size_t i = 0; i < values.size(); ++i) std::cout << (i ? ", " : "") << values[i];
}

// The labels tell which axis of the inputs is the batch: their last.
void set_batch(int batch, NetParameter* net) {
  int axis = 0;
  for (const LayerParameter& layer : net->layer()) {
    if (layer.name() == "label") axis = layer.input_param().shape(0).dim_size() - 1;
  }
  for (LayerParameter& layer : *net->mutable_layer()) {
    if (layer.type() == "Input")
      layer.mutable_input_param()->mutable_shape(0)->set_dim(axis, batch);
  }
}

// Numbers of classes and words are below 10; a sentence begins at the first step of time.
void fill_indices(const std::string& name, const Blob& blob, std::mt19937* random) {
  float* values = blob.overwrite_data<float>();
  const int64_t row = blob.shape().count(1);
  for (int64_t i = 0; i < blob.count(); ++i)
    values[i] = name == "cont" ? (i < row ? 0.f : 1.f) : static_cast<float>((*random)() % 10);
}

void fill_inputs(Net& net) {
  std::mt19937 random(1);
  FillerParameter normal;
  normal.set_type("gaussian");
  for (const int id : net.input_blobs()) {
    Blob& blob = *net.blobs()[static_cast<size_t>(id)];
    const std::string& name = net.blob_names()[static_cast<size_t>(id)];
    if (name == "label" || name == "words" || name == "cont") {
      fill_indices(name, blob, &random);
    } else {
      fill(normal, random(), blob);
    }
  }
}

void print_layers(Net& net, const std::vector<Net::LayerTime>& times, int steps) {
  std::cerr << net.plan_text();
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i].forward + times[i].backward == 0) continue;
    std::cerr << net.layers()[i]->name() << ": forward " << times[i].forward * 1e3 / steps
              << " ms, backward " << times[i].backward * 1e3 / steps << " ms\n";
  }
}

std::unique_ptr<Solver> make_solver(const NetParameter& net, Precision precision) {
  SolverParameter param;
  *param.mutable_net_param() = net;
  param.set_base_lr(0.001f);
  param.set_momentum(0.9f);
  param.set_weight_decay(0.0005f);
  param.set_lr_policy("fixed");
  param.set_max_iter(1 << 30);
  param.set_random_seed(1);
  param.set_solver_mode(SolverParameter_SolverMode_CPU);
  SolverOptions options;
  options.observed = std::vector<std::string>();
  options.precision = precision;
  return std::make_unique<Solver>(param, options);
}

std::unique_ptr<Net> make_net(const NetParameter& param, Precision precision) {
  NetOptions options;
  options.phase = TEST;
  options.observed = std::vector<std::string>();
  options.forward_only = true;
  options.precision = precision;
  return std::make_unique<Net>(param, options);
}

void measure(const Arguments& arguments, Net& net, const std::function<void()>& step) {
  fill_inputs(net);
  step();
  std::cout << "ready" << std::endl;
  for (int i = 0; i < 2; ++i) step();
  std::vector<Net::LayerTime> times(net.layers().size());
  if (arguments.layers) net.profile(&times);
  std::vector<double> wall, processor;
  for (int i = 0; i < arguments.steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    step();
    processor.push_back(static_cast<double>(std::clock() - used) * 1e3 / CLOCKS_PER_SEC);
    wall.push_back(milliseconds_since(start));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  print_list("{\"ms\": [", wall);
  print_list("], \"cpu_ms\": [", processor);
  std::cout << "], \"peak_mb\": " << usage.ru_maxrss / 1024.0 << "}\n";
  if (arguments.layers) print_layers(net, times, arguments.steps);
}

void run(const Arguments& arguments) {
  set_log_threshold(Severity::kWarning);
  NetParameter net = read_net(arguments.net);
  if (arguments.batch > 0) set_batch(arguments.batch, &net);
  if (arguments.inference) {
    const std::unique_ptr<Net> inference = make_net(net, arguments.precision);
    measure(arguments, *inference, [&] { inference->forward(); });
  } else {
    const std::unique_ptr<Solver> solver = make_solver(net, arguments.precision);
    measure(arguments, solver->net(), [&] { solver->train_iteration(); });
  }
}

Arguments parse(const std::vector<std::string>& words) {
  CAFFE_REQUIRE(
      words.size() >= 2,
      "usage: step_bench NET.prototxt STEPS [--inference] [--bf16] [--batch N] [--layers]");
  Arguments arguments;
  arguments.net = words[0];
  arguments.steps = std::stoi(words[1]);
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "--inference") {
      arguments.inference = true;
    } else if (words[i] == "--bf16") {
      arguments.precision = Precision::kBF16;
    } else if (words[i] == "--layers") {
      arguments.layers = true;
    } else if (words[i] == "--batch" && i + 1 < words.size()) {
      arguments.batch = std::stoi(words[++i]);
    } else {
      fail(ErrorCode::kInvalidArgument, "unknown argument ", words[i]);
    }
  }
  return arguments;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  try {
    caffe::run(caffe::parse(std::vector<std::string>(argv + 1, argv + argc)));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 1;
  }
}

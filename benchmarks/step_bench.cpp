// Time of a training step (forward, backward, SGD update) of a net with Input layers, on random
// data. usage: step_bench NET.prototxt STEPS [--layers] Prints one JSON object: milliseconds per
// step, in order; with --layers also each layer's share and the plan.

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <random>
#include <vector>

#include "core/log.h"
#include "io/prototxt.h"
#include "solvers/solver.h"

namespace caffe {
namespace {

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

void print_list(const char* before, const std::vector<double>& values) {
  std::cout << before;
  for (size_t i = 0; i < values.size(); ++i) std::cout << (i ? ", " : "") << values[i];
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

void print_layers(Net& net, const std::vector<Net::LayerTime>& times, int steps) {
  std::cerr << net.plan_text();
  for (size_t i = 0; i < times.size(); ++i) {
    std::cerr << net.layers()[i]->name() << ": forward " << times[i].forward * 1e3 / steps
              << " ms, backward " << times[i].backward * 1e3 / steps << " ms\n";
  }
}

int run(const std::string& path, int steps, bool layers) {
  set_log_threshold(Severity::kWarning);
  SolverParameter param;
  *param.mutable_net_param() = read_net(path);
  param.set_base_lr(0.001f);
  param.set_momentum(0.9f);
  param.set_weight_decay(0.0005f);
  param.set_lr_policy("fixed");
  param.set_max_iter(1 << 30);
  param.set_random_seed(1);
  param.set_solver_mode(SolverParameter_SolverMode_CPU);
  SolverOptions options;
  options.observed = std::vector<std::string>();
  Solver solver(param, options);
  fill_inputs(solver.net());
  for (int i = 0; i < 3; ++i) solver.train_iteration();
  std::vector<Net::LayerTime> times(solver.net().layers().size());
  if (layers) solver.net().profile(&times);
  std::vector<double> wall, processor;
  double loss = 0;
  for (int i = 0; i < steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    loss = solver.train_iteration().loss;
    processor.push_back(static_cast<double>(std::clock() - used) * 1e3 / CLOCKS_PER_SEC);
    wall.push_back(milliseconds_since(start));
  }
  print_list("{\"ms\": [", wall);
  print_list("], \"cpu_ms\": [", processor);
  std::cout << "], \"loss\": " << loss << "}\n";
  if (layers) print_layers(solver.net(), times, steps);
  return 0;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: step_bench NET.prototxt STEPS [--layers]\n";
    return 1;
  }
  try {
    return caffe::run(argv[1], std::atoi(argv[2]),
                      argc > 3 && std::strcmp(argv[3], "--layers") == 0);
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 1;
  }
}

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "capi/compute_thread.h"
#include "net/net.h"

namespace caffe::capi {

// Lets nets that share parameters run side by side. Running only reads the parameters; planning,
// and the first pass after it, may add or convert memory layouts of them, and is done alone.
class WeightsGate {
 public:
  std::unique_lock<std::shared_mutex> alone() {
    const std::lock_guard<std::mutex> turn(turn_);  // whoever waits keeps later ones out
    return std::unique_lock(mutex_);
  }
  std::shared_lock<std::shared_mutex> together() {
    const std::lock_guard<std::mutex> turn(turn_);
    return std::shared_lock(mutex_);
  }

 private:
  std::mutex turn_;
  std::shared_mutex mutex_;
};

}  // namespace caffe::capi

struct caffe_net {
  explicit caffe_net(int threads) : compute(threads) {}
  ~caffe_net() {
    compute.run([this] { net.reset(); });
  }

  // On the compute thread, with the gate held alone. What cannot be shaped stays due.
  void take_on_shapes() {
    if (!reshaped) return;
    net->reshape();
    reshaped = false;
  }

  caffe::capi::ComputeThread compute;
  std::unique_ptr<caffe::Net> net;
  int batch_layer = -1;  // whose top tells the number of rows
  bool fed = false;
  int64_t left = -1;  // records of the range, or fed rows; -1: there is no end
  std::atomic<bool> cancelled{false};

  // One for all nets that share parameters.
  std::shared_ptr<caffe::capi::WeightsGate> gate = std::make_shared<caffe::capi::WeightsGate>();
  bool plans_while_running = false;  // a layer's values decide on shapes
  bool reshaped = false;             // inputs have a new shape
  int64_t ran_generation = -1;       // the plan that has run once
};

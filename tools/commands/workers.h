#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collective/communicator.h"
#include "solvers/solver.h"

namespace caffe {

// What a worker process of `caffe train -workers N` was told by the process that started it, and
// how it talks to it. Workers are forked, so that the group's secret is in nobody's command line or
// environment.
class Worker {
 public:
  Worker(int rank, int world, int channel, const std::string& secret, uint64_t seed);

  int rank() const { return rank_; }
  int world() const { return world_; }
  uint64_t seed() const { return seed_; }

  // Gives the starting process this worker's address, gets everybody's, and connects.
  // `config_hash` as in ConnectOptions. The group belongs to the worker.
  Communicator& connect(uint64_t config_hash);
  // What the starting process was asked for by signals since the last call.
  SolverRequest next_request();
  // Leaves the group; `failure`, if there is one, tells the others why, so that none waits.
  void leave(const std::string& failure);

 private:
  int rank_;
  int world_;
  int channel_;
  std::string secret_;
  uint64_t seed_;
  std::string requests_;  // not yet given, oldest first
  std::unique_ptr<Communicator> group_;
};

struct WorkersOptions {
  int world = 1;
  int threads = 0;    // of each worker; 0: an equal share of the cores of this process
  uint64_t seed = 0;  // that all workers draw with
};

// Runs `work` in `world` processes forked from this one, which must have a single thread and have
// computed nothing yet, and waits for them. Requests that `next_request` gives are handed to rank
// 0. If a worker throws or dies, all are ended and this throws one error that names it.
void run_workers(const WorkersOptions& options, const std::function<SolverRequest()>& next_request,
                 const std::function<void(Worker&)>& work);

}  // namespace caffe

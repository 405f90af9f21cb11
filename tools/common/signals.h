#pragma once

#include <string>

#include "solvers/solver.h"

namespace caffe {

// Turns SIGINT and SIGHUP into requests to a solver, while it lives. Effects are "stop", "snapshot"
// and "none" (the signal is ignored). After a first "stop" the signal has its usual effect again,
// so that a second one ends the process.
class SignalRequests {
 public:
  SignalRequests(const std::string& sigint_effect, const std::string& sighup_effect);
  ~SignalRequests();
  SignalRequests(const SignalRequests&) = delete;
  SignalRequests& operator=(const SignalRequests&) = delete;

  // The next request that was not answered yet; snapshots before a stop.
  static SolverRequest next();
};

}  // namespace caffe

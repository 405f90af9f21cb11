#pragma once

#include <string>

#include "core/clock.h"
#include "solvers/solver.h"

namespace caffe {

// The last line of a terminal while a solver trains: how far it is, how fast, the smoothed loss,
// and the time left. Log lines go above it. The line is gone when this is.
class ProgressBar {
 public:
  // The solver must outlive the bar's last iteration. At most one bar at a time.
  explicit ProgressBar(Solver& solver);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  void draw();
  std::string line() const;

  Solver& solver_;
  const int64_t first_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_{};
};

// Whether stderr is a terminal on which a bar can be drawn.
bool terminal_for_progress();

// "1:02:03"; "4:05" below one hour.
std::string clock_time(double seconds);

}  // namespace caffe

#pragma once

#include <functional>
#include <string>

#include "tools/common/flags.h"

namespace caffe {

// Flags of glog that scripts pass to every tool.
void add_log_flags(Flags* flags);
void apply_log_flags(const Flags& flags);

// What main does: runs `work` and returns the exit code. An exception becomes one line on stderr,
// "<program>: message", and code 1.
int run_command(const std::string& program, const std::function<void()>& work);

// First in the main of programs that compute. Threads that wait for work must not spin: on a busy
// machine that costs a hundred times the work itself. The OpenMP runtime reads the setting when it
// is loaded, so the program starts over with it, unless OMP_WAIT_POLICY is set.
void start_with_passive_threads(char** argv);

}  // namespace caffe

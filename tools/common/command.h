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

}  // namespace caffe

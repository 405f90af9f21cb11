#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/precision.h"
#include "tools/common/flags.h"

namespace caffe {

// Flags of glog that scripts pass to every tool.
void add_log_flags(Flags* flags);
void apply_log_flags(const Flags& flags);

// The flag -backend, and the store's kind as open_records and create_records know it: LMDB.
void add_backend_flag(Flags* flags);
std::string backend_flag(const Flags& flags);

// The flag -threads: compute threads of this process.
void add_threads_flag(Flags* flags);
void apply_threads_flag(const Flags& flags);

// The flag -precision: what nets compute in. `otherwise` says in the help text what holds without
// it.
void add_precision_flag(Flags* flags, const std::string& otherwise = "f32");
std::optional<Precision> precision_flag(const Flags& flags);

std::string upper_case(std::string text);

// What main does: runs `work` and returns the exit code. An exception becomes one line on stderr,
// "<program>: message", and code 1.
int run_command(const std::string& program, const std::function<void()>& work);

// A program that takes names in a fixed order, and flags anywhere among them.
struct Program {
  std::string name;
  std::string arguments;  // "db_path [mean_file]"; in brackets what may be left out, at the end
  std::string about;      // what it does, for -help; lines may be of any length
  Flags flags;            // its own; those that all programs have are added
  std::string example;    // a command line, for -help
};

// Main of such a program: `work` gets the flags, in which positional() has as many names as
// `arguments` allows.
int run_program(Program program, int argc, char** argv,
                const std::function<void(const Flags&)>& work);

// First in the main of programs that compute. Threads that wait for work must not spin: on a busy
// machine that costs a hundred times the work itself. The OpenMP runtime reads the setting when it
// is loaded, so the program starts over with it, unless OMP_WAIT_POLICY is set.
void start_with_passive_threads(char** argv);

}  // namespace caffe

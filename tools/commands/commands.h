#pragma once

#include <string>
#include <vector>

#include "core/log.h"
#include "net/net.h"
#include "tools/common/flags.h"

namespace caffe {

// A command of the program `caffe`.
struct Command {
  const char* summary;  // one line, for the list of commands
  const char* about;    // for its -help: what it does, and examples
  void (*add_flags)(Flags*);
  void (*run)(const Flags&);
};

Command train_command();
Command test_command();
Command time_command();
Command plan_command();
Command device_query_command();

// What `caffe` does with the words after its name; throws what goes wrong.
void run_command_line(const std::vector<std::string>& arguments);

// ---- flags that several commands have ----

// -level and -stage.
void add_state_flags(Flags* flags);
// -gpu, for scripts that give it; refuse_gpu says that there is none.
void add_gpu_flag(Flags* flags);
void refuse_gpu(const Flags& flags);
// -memory_limit: NetOptions::memory_limit, in MiB.
void add_memory_limit_flag(Flags* flags);
size_t memory_limit_flag(const Flags& flags);
void add_phase_flag(Flags* flags);
Phase phase_flag(const Flags& flags);

// Of a net that nobody looks into: what a solver runs. Needs add_state_flags and
// add_precision_flag.
NetOptions net_options(const Flags& flags, Phase phase);

}  // namespace caffe

// Lines name the file in which Caffe has these commands: scripts look for it.
#define CAFFE_COMMAND_LOG(...) \
  ::caffe::log_line(::caffe::Severity::kInfo, "caffe.cpp", __LINE__, ::caffe::concat(__VA_ARGS__))

#include "tools/commands/commands.h"

#include "core/random.h"
#include "tools/common/command.h"

namespace caffe {

void add_state_flags(Flags* flags) {
  flags->add("level", "N", "0", "level of the net's state, for include and exclude rules")
      .add("stage", "STAGES", "", "comma-separated stages of the net's state, for the same rules");
}

void add_gpu_flag(Flags* flags) {
  flags->add("gpu", "IDS", "",
             "GPUs, comma-separated, or \"all\"; an error in this build, which has no GPU code");
}

void refuse_gpu(const Flags& flags) {
  CAFFE_REQUIRE(flags.text("gpu").empty(), "-gpu ", flags.text("gpu"),
                " asks for a GPU, and this build computes on the CPU only; leave -gpu out");
}

void add_memory_limit_flag(Flags* flags) {
  flags->add("memory_limit", "MIB", "0",
             "megabytes (2^20 bytes) that the blobs of training may take; where they need more, "
             "parts of the net are computed again on the way back; 0: no limit");
}

size_t memory_limit_flag(const Flags& flags) {
  constexpr int64_t kMebibyte = 1 << 20;
  return static_cast<size_t>(flags.number("memory_limit", 0) * kMebibyte);
}

void add_phase_flag(Flags* flags) {
  flags->add("phase", "PHASE", "TRAIN", "phase of the net: TRAIN or TEST");
}

Phase phase_flag(const Flags& flags) {
  const std::string& word = flags.text("phase");
  Phase phase = TRAIN;
  CAFFE_REQUIRE(Phase_Parse(word, &phase), "flag -phase is TRAIN or TEST, not \"", word, "\"");
  return phase;
}

NetOptions net_options(const Flags& flags, Phase phase) {
  NetOptions options;
  options.phase = phase;
  options.level = static_cast<int>(flags.number("level", 0));
  options.stages = flags.list("stage");
  options.observed.emplace();
  options.precision = precision_flag(flags).value_or(Precision::kF32);
  options.seed = default_seed();
  return options;
}

}  // namespace caffe

// `caffe plan`: what the engine makes of a net.

#include <iostream>

#include "io/prototxt.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

void plan_flags(Flags* flags) {
  flags->add("model", "FILE", "", "the net's prototxt; may also stand without a flag");
  add_phase_flag(flags);
  add_state_flags(flags);
  add_threads_flag(flags);
  add_precision_flag(flags);
  add_memory_limit_flag(flags);
}

void plan(const Flags& flags) {
  const std::vector<std::string>& names = flags.positional();
  const bool named = names.size() > 1;
  CAFFE_REQUIRE(named != flags.given("model"), "needs one model definition: caffe plan FILE");
  apply_threads_flag(flags);
  const Phase phase = phase_flag(flags);
  NetOptions options = net_options(flags, phase);
  options.forward_only = phase == TEST;
  options.memory_limit = memory_limit_flag(flags);
  const Net net(read_net(named ? names[1] : flags.text("model")), options);
  std::cout << net.plan_text() << std::flush;
}

const char* const kAbout =
    "caffe plan FILE prints a table with a row for each step of a pass: the layer, the "
    "implementation that runs it, its kernel and memory layouts, the shape and bytes of its top, "
    "and which layers run as part of it (fused). Below a row stands why faster implementations "
    "were refused; at the end, how much memory the steps share. Nothing is computed, but the data "
    "layers' stores must exist.\n"
    "\n"
    "example:\n"
    "caffe plan lenet_train_test.prototxt -phase TEST";

}  // namespace

Command plan_command() {
  return {"shows how each layer of a net will run", kAbout, plan_flags, plan};
}

}  // namespace caffe

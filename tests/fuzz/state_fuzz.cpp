// Solver states (.solverstate): any bytes give a state that a solver can go on from, or an Error.
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "fuzz/scratch_file.h"
#include "fuzz/small_net.h"
#include "solvers/solver.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;
  static Solver* const solver = [] {
    set_log_threshold(Severity::kError);
    const std::string text =
        "base_lr: 0.1 lr_policy: 'multistep' gamma: 0.5 stepvalue: 3 net_param {";
    return new Solver(parse_solver(text + fuzz::kSmallNet + "}", "small solver"), SolverOptions());
  }();
  const fuzz::ScratchFile file(data, size);
  if (!file.whole()) return 0;
  try {
    solver->restore(file.path());
    solver->apply_update();
  } catch (const Error&) {
  }
  return 0;
}

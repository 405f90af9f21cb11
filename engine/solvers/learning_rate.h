#pragma once

#include <cstdint>

#include "proto/caffe.pb.h"

namespace caffe {

// The learning rate of an iteration, by lr_policy (formulas: docs/reference/solvers.md). Throws
// "Unknown learning rate policy: X (known policies: ...)" and for parameters a policy lacks.
// multistep advances *current_step, which is part of a solver's state, by at most one per call.
float learning_rate(const SolverParameter& param, int64_t iteration, int32_t* current_step);

// Throws if learning_rate would, whatever the iteration.
void check_learning_rate(const SolverParameter& param);

}  // namespace caffe

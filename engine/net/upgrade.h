#pragma once

#include <string>

#include "proto/caffe.pb.h"

namespace caffe {

// Brings what older versions of Caffe wrote into today's form: V0 and V1 layers, `input` fields,
// data transformations inside data layers, BatchNorm with three parameter specs, enumerated solver
// types. `file` is named in log and errors.
void upgrade_net(const std::string& file, NetParameter* net);
void upgrade_solver(const std::string& file, SolverParameter* solver);

}  // namespace caffe

#pragma once

#include "core/precision.h"

namespace caffe {

// Whether this processor computes in it at more than the speed of a plain loop.
bool supports(Precision precision);

}  // namespace caffe

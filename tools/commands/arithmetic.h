#pragma once

#include "net/net.h"

namespace caffe {

// Floating-point operations of a layer's matrix products and convolutions in one pass; a
// multiplication and an addition are two. What other layers compute is little and not counted.
struct Arithmetic {
  double forward = 0;
  double backward = 0;
};
Arithmetic arithmetic_of(const Net& net, int layer);

// Operations per second of a product of matrices large enough to keep all compute threads busy:
// what the layers' figures are compared with. Takes about `seconds`.
double measure_peak(Precision precision, double seconds);

}  // namespace caffe

#pragma once

#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {

// Shape of the parameter that Scale and Bias learn: `num_axes` axes of the bottom from `axis` on
// (-1: all the rest; 0: a scalar).
inline Shape broadcast_parameter_shape(const Shape& bottom, int axis, int num_axes) {
  CAFFE_REQUIRE(num_axes >= -1, "found num_axes ", num_axes,
                ", expected -1 (all from axis on) or more");
  if (num_axes == 0) return Shape();
  const int begin = bottom.canonical_axis(axis);
  const int end = num_axes == -1 ? bottom.axes() : begin + num_axes;
  CAFFE_REQUIRE(end <= bottom.axes(), "axis ", axis, " and num_axes ", num_axes, " reach past the ",
                bottom.axes(), "-D bottom ", bottom.str());
  return Shape(std::vector<int64_t>(bottom.dims().begin() + begin, bottom.dims().begin() + end));
}

// How `factor` lies along `bottom` from `axis` on.
inline Middle broadcast(const Shape& bottom, const Shape& factor, int axis) {
  const int begin = factor.axes() == 0 ? 0 : bottom.canonical_axis(axis);
  bool fits = begin + factor.axes() <= bottom.axes();
  for (int i = 0; fits && i < factor.axes(); ++i) fits = bottom[begin + i] == factor[i];
  CAFFE_REQUIRE(fits, "the second operand has shape ", factor.str(),
                ", which does not match the bottom's shape ", bottom.str(), " from axis ", begin,
                " on");
  return {bottom.count(0, begin), factor.count(), bottom.count(begin + factor.axes())};
}

// Whether the gradient of Scale's learned factor replaces what was there instead of adding to it,
// as in Caffe: where nothing lies outside of the factor's axes (one sample, axis 0), unless it is
// one number for many.
inline bool factor_gradient_overwrites(const Middle& middle) {
  return middle.outer == 1 && (middle.middle > 1 || middle.inner == 1);
}

}  // namespace caffe

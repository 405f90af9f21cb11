#pragma once

#include "layers/layer.h"

namespace caffe {

// An index that came in a blob of floating-point numbers. Throws where it is none of 0 .. extent -
// 1; `position` is its place in the blob.
template <typename T>
int64_t checked_index(const Layer& layer, T value, int64_t extent, int64_t position) {
  const bool in_range = value > -1 && value < static_cast<T>(extent);  // false for NaN
  if (!in_range) {
    fail(ErrorCode::kData, layer.label(), " found index ", value, " at position ", position,
         " of its bottom, expected 0 to ", extent - 1, "; correct the data");
  }
  return static_cast<int64_t>(value);
}

}  // namespace caffe

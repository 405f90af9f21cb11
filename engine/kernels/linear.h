#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace caffe {

// Loops over n numbers on the calling thread, T: float or BF16, for which sums are made in float.
// Arrays may be the same, but then meet at the same element only.

// y = a x0 + b x1.
template <typename T>
void combine(int64_t n, float a, const T* x0, float b, const T* x1, T* y);
// The same where that is not below 0, else 0.
template <typename T>
void combine_and_rectify(int64_t n, float a, const T* x0, float b, const T* x1, T* y);
// y += a x.
template <typename T>
void accumulate(int64_t n, float a, const T* x, T* y);
// y = 0 where y is below 0.
template <typename T>
void rectify(int64_t n, T* y);
// to = a from.
template <typename T>
void scale(int64_t n, float a, const T* from, T* to);
// to = a from where y is above 0, else 0.
template <typename T>
void scale_where_positive(int64_t n, float a, const T* from, const T* y, T* to);

}  // namespace caffe

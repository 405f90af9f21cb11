#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/for_each.h"
#include "kernels/reduce.h"

namespace caffe {

// Of `width` columns of a matrix with rows of `stride` numbers, one per class. y may be x.
// `scratch` has room for `width` numbers.
void softmax_columns(int64_t classes, int64_t stride, int64_t width, const float* x, float* y,
                     float* scratch);
void softmax_columns(int64_t classes, int64_t stride, int64_t width, const double* x, double* y,
                     double* scratch);
// Of a row. y may be x.
void softmax_row(int64_t classes, const float* x, float* y);
void softmax_row(int64_t classes, const double* x, double* y);

// Softmax over the middle of outer x middle x inner. y may be x. `scratch` has room for outer x
// inner numbers.
template <typename T>
void softmax(const Middle& m, const T* x, T* y, T* scratch) {
  const int64_t classes = m.middle, inner = m.inner;
  if (inner == 1) {
    for_each_heavy(m.outer,
                   [=](int64_t o) { softmax_row(classes, x + o * classes, y + o * classes); });
    return;
  }
  constexpr int64_t kWidth = 256;
  const int64_t blocks = (inner + kWidth - 1) / kWidth;
  for_each_heavy(m.outer * blocks, [=](int64_t i) {
    const int64_t o = i / blocks, column = i % blocks * kWidth;
    const int64_t first = o * classes * inner + column;
    softmax_columns(classes, inner, std::min(kWidth, inner - column), x + first, y + first,
                    scratch + o * inner + column);
  });
}

}  // namespace caffe

#include "kernels/softmax.h"

#include "core/clones.h"
#include "kernels/functions.h"

namespace caffe {
namespace {

template <typename T>
[[gnu::always_inline]] inline void columns_of(int64_t classes, int64_t stride, int64_t width,
                                              const T* x, T* y, T* scratch) {
  for (int64_t i = 0; i < width; ++i) scratch[i] = x[i];
  for (int64_t c = 1; c < classes; ++c) {
    const T* row = x + c * stride;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) scratch[i] = scratch[i] < row[i] ? row[i] : scratch[i];
  }
  for (int64_t c = 0; c < classes; ++c) {
    const T* in = x + c * stride;
    T* out = y + c * stride;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) out[i] = functions::exp(in[i] - scratch[i]);
  }
  for (int64_t i = 0; i < width; ++i) scratch[i] = y[i];
  for (int64_t c = 1; c < classes; ++c) {
    const T* out = y + c * stride;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) scratch[i] += out[i];
  }
  for (int64_t c = 0; c < classes; ++c) {
    T* out = y + c * stride;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) out[i] /= scratch[i];
  }
}

template <typename T>
[[gnu::always_inline]] inline void row_of(int64_t classes, const T* x, T* y) {
  T largest = x[0];
#pragma omp simd reduction(max : largest)
  for (int64_t c = 0; c < classes; ++c) largest = largest < x[c] ? x[c] : largest;
  T total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t c = 0; c < classes; ++c) {
    const T value = functions::exp(x[c] - largest);
    y[c] = value;
    total += value;
  }
#pragma omp simd
  for (int64_t c = 0; c < classes; ++c) y[c] /= total;
}

}  // namespace

CAFFE_CLONES void softmax_columns(int64_t classes, int64_t stride, int64_t width, const float* x,
                                  float* y, float* scratch) {
  columns_of(classes, stride, width, x, y, scratch);
}

void softmax_columns(int64_t classes, int64_t stride, int64_t width, const double* x, double* y,
                     double* scratch) {
  columns_of(classes, stride, width, x, y, scratch);
}

CAFFE_CLONES void softmax_row(int64_t classes, const float* x, float* y) { row_of(classes, x, y); }

void softmax_row(int64_t classes, const double* x, double* y) { row_of(classes, x, y); }

}  // namespace caffe

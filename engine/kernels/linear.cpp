#include "kernels/linear.h"

#include "core/clones.h"

// All operands are read before anything is chosen, because a loop that reads under a condition does
// not become SIMD code; nor does one over BF16 under `omp simd`.
namespace caffe {

template <typename T>
CAFFE_CLONES void combine(int64_t n, float a, const T* x0, float b, const T* x1, T* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = a * x0[i] + b * x1[i];
}

template <typename T>
CAFFE_CLONES void combine_and_rectify(int64_t n, float a, const T* x0, float b, const T* x1, T* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float value = a * x0[i] + b * x1[i];
    y[i] = value < 0 ? 0 : value;
  }
}

template <typename T>
CAFFE_CLONES void accumulate(int64_t n, float a, const T* x, T* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] + a * x[i];
}

template <typename T>
CAFFE_CLONES void rectify(int64_t n, T* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float value = y[i];
    y[i] = value < 0 ? 0 : value;
  }
}

template <typename T>
CAFFE_CLONES void scale(int64_t n, float a, const T* from, T* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = a * from[i];
}

template <typename T>
CAFFE_CLONES void scale_where_positive(int64_t n, float a, const T* from, const T* y, T* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float value = from[i], condition = y[i];
    to[i] = a * (condition > 0 ? value : 0);
  }
}

template void combine(int64_t, float, const float*, float, const float*, float*);
template void combine(int64_t, float, const BF16*, float, const BF16*, BF16*);
template void combine_and_rectify(int64_t, float, const float*, float, const float*, float*);
template void combine_and_rectify(int64_t, float, const BF16*, float, const BF16*, BF16*);
template void accumulate(int64_t, float, const float*, float*);
template void accumulate(int64_t, float, const BF16*, BF16*);
template void rectify(int64_t, float*);
template void rectify(int64_t, BF16*);
template void scale(int64_t, float, const float*, float*);
template void scale(int64_t, float, const BF16*, BF16*);
template void scale_where_positive(int64_t, float, const float*, const float*, float*);
template void scale_where_positive(int64_t, float, const BF16*, const BF16*, BF16*);

}  // namespace caffe

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/for_each.h"
#include "kernels/reduce.h"

namespace caffe {

// Softmax over the middle of outer x middle x inner. y may be x. `scratch` has room for outer x
// inner numbers.
template <typename T>
void softmax(const Middle& m, const T* x, T* y, T* scratch) {
  const int64_t channels = m.middle;
  const int64_t inner = m.inner;
  for_each_heavy(m.outer, [=](int64_t o) {
    const T* in = x + o * channels * inner;
    T* out = y + o * channels * inner;
    T* reduced = scratch + o * inner;
    std::copy_n(in, inner, reduced);
    for (int64_t c = 1; c < channels; ++c) {
      for (int64_t i = 0; i < inner; ++i) reduced[i] = std::max(reduced[i], in[c * inner + i]);
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < inner; ++i)
        out[c * inner + i] = std::exp(in[c * inner + i] - reduced[i]);
    }
    std::copy_n(out, inner, reduced);
    for (int64_t c = 1; c < channels; ++c) {
      for (int64_t i = 0; i < inner; ++i) reduced[i] += out[c * inner + i];
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < inner; ++i) out[c * inner + i] /= reduced[i];
    }
  });
}

}  // namespace caffe

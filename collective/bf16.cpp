#include "collective/bf16.h"

#include "core/clones.h"

namespace caffe {

CAFFE_CLONES void pack_bf16(BF16* __restrict__ packed, const float* __restrict__ values, size_t n) {
  for (size_t i = 0; i < n; ++i) packed[i] = values[i];
}

CAFFE_CLONES void unpack_bf16(float* __restrict__ values, const BF16* __restrict__ packed,
                              size_t n) {
  for (size_t i = 0; i < n; ++i) values[i] = packed[i];
}

CAFFE_CLONES void add_bf16(float* __restrict__ sums, const BF16* __restrict__ packed, size_t n) {
  for (size_t i = 0; i < n; ++i) sums[i] += packed[i];
}

CAFFE_CLONES void round_to_bf16(float* values, size_t n) {
  for (size_t i = 0; i < n; ++i) values[i] = BF16(values[i]);
}

}  // namespace caffe

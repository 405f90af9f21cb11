#include "collective/bf16.h"

#include <bit>

#include "core/clones.h"

namespace caffe {
namespace {

inline uint32_t upper_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  // Rounding could carry a NaN's bits into the sign; a quiet NaN of the same sign instead.
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  return nan ? (bits >> 16) | 0x40 : rounded;
}

inline float widened(uint32_t half) { return std::bit_cast<float>(half << 16); }

}  // namespace

CAFFE_CLONES void pack_bf16(uint16_t* __restrict__ packed, const float* __restrict__ values,
                            size_t n) {
  for (size_t i = 0; i < n; ++i) packed[i] = static_cast<uint16_t>(upper_half(values[i]));
}

CAFFE_CLONES void unpack_bf16(float* __restrict__ values, const uint16_t* __restrict__ packed,
                              size_t n) {
  for (size_t i = 0; i < n; ++i) values[i] = widened(packed[i]);
}

CAFFE_CLONES void add_bf16(float* __restrict__ sums, const uint16_t* __restrict__ packed,
                           size_t n) {
  for (size_t i = 0; i < n; ++i) sums[i] += widened(packed[i]);
}

CAFFE_CLONES void round_to_bf16(float* values, size_t n) {
  for (size_t i = 0; i < n; ++i) values[i] = widened(upper_half(values[i]));
}

}  // namespace caffe

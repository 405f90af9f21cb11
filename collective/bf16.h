#pragma once

#include <cstddef>
#include <cstdint>

namespace caffe {

// bfloat16 is the upper half of a float32. Rounding is to nearest, ties to even; infinities and
// NaNs stay what they are. The ranges of an operation do not overlap.

// packed[i] = values[i], rounded.
void pack_bf16(uint16_t* packed, const float* values, size_t n);
// values[i] = packed[i].
void unpack_bf16(float* values, const uint16_t* packed, size_t n);
// sums[i] += packed[i].
void add_bf16(float* sums, const uint16_t* packed, size_t n);
// values[i] becomes what a receiver of pack_bf16 would have.
void round_to_bf16(float* values, size_t n);

}  // namespace caffe

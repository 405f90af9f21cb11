#pragma once

#include <cstddef>

#include "core/bf16.h"

namespace caffe {

// What travels as bfloat16. The ranges of an operation do not overlap.

// packed[i] = values[i], rounded.
void pack_bf16(BF16* packed, const float* values, size_t n);
// values[i] = packed[i].
void unpack_bf16(float* values, const BF16* packed, size_t n);
// sums[i] += packed[i].
void add_bf16(float* sums, const BF16* packed, size_t n);
// values[i] becomes what a receiver of pack_bf16 would have.
void round_to_bf16(float* values, size_t n);

}  // namespace caffe

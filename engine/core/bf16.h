#pragma once

#include <bit>
#include <cstdint>

namespace caffe {

// bfloat16: the upper half of a float32, 8 significant bits. Rounded to nearest, ties to even;
// infinities and NaNs stay what they are. Loops over it become SIMD code.
struct BF16 {
  uint16_t bits = 0;

  BF16() = default;
  // Implicit, as for any narrower number.
  // NOLINTBEGIN(google-explicit-constructor)
  BF16(float value) : bits(upper_half(value)) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
  // NOLINTEND(google-explicit-constructor)

 private:
  static uint16_t upper_half(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN's bits into the sign; a quiet NaN of the same sign instead.
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    return static_cast<uint16_t>(nan ? (bits >> 16) | 0x40 : rounded);
  }
};
static_assert(sizeof(BF16) == 2);

}  // namespace caffe

#include "collective/bf16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace caffe {
namespace {

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

uint16_t packed(float value) {
  BF16 result;
  pack_bf16(&result, &value, 1);
  return result.bits;
}

// The nearer of the two neighbours, found by distance; a tie goes to the even one.
uint16_t nearest(float value) {
  const uint32_t below = std::bit_cast<uint32_t>(value) >> 16;
  const double low = from_bits(below << 16), high = from_bits((below + 1) << 16);
  // Beyond the largest finite number the next step would be as large as the one before.
  const double step = std::isinf(high) ? low + (low - from_bits((below - 1) << 16)) : high;
  const double up = std::abs(step - value), down = std::abs(value - low);
  if (up == down) return static_cast<uint16_t>(below % 2 ? below + 1 : below);
  return static_cast<uint16_t>(up < down ? below + 1 : below);
}

TEST(Bf16, RoundsToTheNearestTiesToEven) {
  std::mt19937 random(3);
  for (int i = 0; i < 200'000; ++i) {
    const float value = from_bits(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    ASSERT_EQ(packed(value), nearest(value)) << value;
  }
  for (uint32_t half = 0x3f00; half < 0x3f80; ++half) {
    const float tie = from_bits(half << 16 | 0x8000);
    ASSERT_EQ(packed(tie), nearest(tie));
    ASSERT_EQ(packed(tie) % 2, 0);
  }
}

TEST(Bf16, KeepsZerosInfinitiesAndNaNs) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(packed(infinity), 0x7f80);
  EXPECT_EQ(packed(-infinity), 0xff80);
  EXPECT_EQ(packed(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(packed(-0.0f), 0x8000);
  for (const uint32_t nan : {0x7fffffffu, 0xffffffffu, 0x7f800001u, 0xff800001u, 0x7fc00000u}) {
    const uint16_t half = packed(from_bits(nan));
    EXPECT_TRUE(std::isnan(from_bits(static_cast<uint32_t>(half) << 16))) << std::hex << nan;
    EXPECT_EQ(half >> 15, nan >> 31);
  }
}

TEST(Bf16, OperationsAgreeAtEveryLength) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (size_t n = 0; n < 100; ++n) {
    std::vector<float> values(n), sums(n), back(n);
    for (float& value : values) value = normal(random);
    for (float& value : sums) value = normal(random);
    const std::vector<float> before = sums;
    std::vector<BF16> halves(n);
    pack_bf16(halves.data(), values.data(), n);
    unpack_bf16(back.data(), halves.data(), n);
    add_bf16(sums.data(), halves.data(), n);
    round_to_bf16(values.data(), n);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(back[i], from_bits(static_cast<uint32_t>(halves[i].bits) << 16));
      ASSERT_EQ(values[i], back[i]);
      ASSERT_EQ(sums[i], before[i] + back[i]);
    }
  }
}

}  // namespace
}  // namespace caffe

#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace caffe {

// exp, tanh and the logistic function. The float versions have no branches, tables or calls, so
// that loops over them become SIMD code; their relative errors are below 4e-7. The double versions
// are the library's.

namespace functions {

// e^x as scale * (1 + rest), scale a power of 2: x = n ln 2 + r, |r| <= ln 2 / 2, and e^r - 1 by
// its Taylor series up to r^7. For x in [-87.33, 88]; others are taken as the nearer bound.
struct Exponential {
  float scale;
  float rest;
};
inline constexpr float kLeastExponent = -87.3365f;  // of a normal float

inline Exponential exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // n * kLn2High is exact
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: what is added to it becomes whole
  const float bounded = std::min(std::max(x, kLeastExponent), 88.f);
  const float shifted = bounded * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * kLn2High) - n * kLn2Low;
  const float scale = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u);
  float series = 1.f / 5040;
  series = series * r + 1.f / 720;
  series = series * r + 1.f / 120;
  series = series * r + 1.f / 24;
  series = series * r + 1.f / 6;
  series = series * r + 0.5f;
  return {scale, r + r * r * series};
}

// 0 below the least exponent, e^88 above 88.
inline float exp(float x) {
  const Exponential e = exponential(x);
  return x < kLeastExponent ? 0.f : e.scale + e.scale * e.rest;
}
inline double exp(double x) { return std::exp(x); }

// By e^(-2|x|) - 1, so that small x keep all their digits.
inline float tanh(float x) {
  const Exponential e = exponential(-2 * std::abs(x));
  const float less_one = e.scale * e.rest + (e.scale - 1);
  return std::copysign(-less_one / (2 + less_one), x);
}
inline double tanh(double x) { return std::tanh(x); }

// 1 / (1 + e^-x).
inline float sigmoid(float x) {
  const Exponential e = exponential(-x);
  return 1 / (1 + (e.scale + e.scale * e.rest));
}
inline double sigmoid(double x) { return std::tanh(x / 2) / 2 + 0.5; }

}  // namespace functions
}  // namespace caffe

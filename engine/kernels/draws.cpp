#include "kernels/draws.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "core/clones.h"
#include "core/random.h"

namespace caffe {
namespace {

constexpr int64_t kWords = 4;     // of a counter
constexpr int64_t kBlocks = 128;  // counters drawn at once: their words stay in the first cache
constexpr int64_t kDraws = kWords * kBlocks;

// The series of ln((1 + s) / (1 - s)) = 2 s (1 + s^2 / 3 + s^4 / 5 ...), for a square of s.
[[gnu::always_inline]] inline double logarithm_series(double square) {
  double sum = 0;
#pragma GCC unroll 16
  for (int i = 10; i >= 0; --i) sum = sum * square + 1.0 / (2 * i + 1);
  return sum;
}

// sin(x) / x (begin 0) or cos(x) (begin -1) for |x| <= pi / 4: Taylor's series to the 16th power.
template <int begin>
[[gnu::always_inline]] inline double circle_series(double square) {
  double sum = 1;
#pragma GCC unroll 16
  for (int i = 8; i >= 1; --i)
    sum = 1 - sum * square * (1.0 / ((2 * i + begin) * (2 * i + begin + 1)));
  return sum;
}

// sqrt(-2 ln u) for 0 < u < 1. u = 2^exponent * m with m from sqrt(1/2) to sqrt(2).
[[gnu::always_inline]] inline double radius_of(double u) {
  constexpr uint64_t kBias = 1024;
  constexpr double kLn2 = std::numbers::ln2;
  const uint64_t bits = std::bit_cast<uint64_t>(u);
  const uint64_t half = std::bit_cast<uint64_t>(std::numbers::sqrt2 / 2);
  const uint64_t biased = (bits - half + (kBias << 52)) >> 52;
  const double m = std::bit_cast<double>(bits - (biased << 52) + (kBias << 52));
  // A whole number below 2^52, as a double.
  const double exponent = std::bit_cast<double>(biased | std::bit_cast<uint64_t>(0x1.0p52)) -
                          (0x1.0p52 + static_cast<double>(kBias));
  const double s = (m - 1) / (m + 1);
  return std::sqrt(-2 * (exponent * kLn2 + 2 * s * logarithm_series(s * s)));
}

// normal_pair of b words each, but for the last digits of doubles. Rounded to float that is nearly
// always the same; `unsure` says where it may not be.
[[gnu::always_inline]] inline void normals_of(const uint32_t* first, const uint32_t* second,
                                              double mean, double deviation, float* cosines,
                                              float* sines, uint32_t* unsure) {
  // Ten times more than both ways to compute it are off, relative to |mean| + deviation * radius.
  constexpr double kError = 2e-14;
#pragma omp simd
  for (int64_t b = 0; b < kBlocks; ++b) {
    const double radius = radius_of((first[b] + 0.5) * 0x1.0p-32);
    // The angle is an odd or even number of right angles, and the rest of -1/2 to 1/2 of one.
    const uint32_t word = second[b];
    const uint32_t quarter = (word + (1u << 29)) >> 30;
    const auto rest = static_cast<int32_t>(word - (quarter << 30));
    const double angle = (rest + 0.5) * (0x1.0p-30 * std::numbers::pi / 2);
    const double square = angle * angle;
    const double sine = angle * circle_series<0>(square), cosine = circle_series<-1>(square);
    const bool odd = (quarter & 1) != 0;
    const double x = odd ? sine : cosine, y = odd ? cosine : sine;
    const bool left = ((quarter + 1) & 2) != 0, below = (quarter & 2) != 0;
    const double scaled = deviation * radius;
    const double margin = kError * (std::abs(mean) + std::abs(scaled));
    const double one = mean + scaled * (left ? -x : x), other = mean + scaled * (below ? -y : y);
    cosines[b] = static_cast<float>(one - margin);
    sines[b] = static_cast<float>(other - margin);
    unsure[b] = static_cast<uint32_t>(cosines[b] != static_cast<float>(one + margin)) |
                static_cast<uint32_t>(sines[b] != static_cast<float>(other + margin));
  }
}

// Of kBlocks counters; [i][b] belongs to word i of counter b.
struct Normals {
  uint32_t words[kWords][kBlocks];
  float values[kWords][kBlocks];
  uint32_t unsure[kWords / 2][kBlocks];
};

CAFFE_CLONES void draw_approximately(const Philox& philox, uint64_t stream, uint64_t first,
                                     double mean, double deviation, Normals* normals) {
  auto& [words, values, unsure] = *normals;
  philox.blocks(first, stream, words);
  for (int i = 0; i < kWords; i += 2)
    normals_of(words[i], words[i + 1], mean, deviation, values[i], values[i + 1], unsure[i / 2]);
}

void make_exact(double mean, double deviation, Normals* normals) {
  auto& [words, values, unsure] = *normals;
  for (int i = 0; i < kWords; i += 2) {
    for (int64_t b = 0; b < kBlocks; ++b) {
      if (unsure[i / 2][b] == 0) [[likely]]
        continue;
      const auto [first, second] = normal_pair(words[i][b], words[i + 1][b]);
      values[i][b] = static_cast<float>(mean + deviation * first);
      values[i + 1][b] = static_cast<float>(mean + deviation * second);
    }
  }
}

CAFFE_CLONES void draw_between(const Philox& philox, uint64_t stream, uint64_t first, double low,
                               double width, float (&values)[kWords][kBlocks]) {
  uint32_t words[kWords][kBlocks];
  philox.blocks(first, stream, words);
  for (int i = 0; i < kWords; ++i) {
#pragma omp simd
    for (int64_t b = 0; b < kBlocks; ++b)
      values[i][b] = static_cast<float>(low + width * static_cast<double>(uniform01(words[i][b])));
  }
}

// In the order in which a stream draws them: counter by counter.
void interleave(const float (&from)[kWords][kBlocks], int64_t count, float* values) {
  const int64_t whole = count / kWords;
  for (int64_t b = 0; b < whole; ++b) {
    for (int64_t i = 0; i < kWords; ++i) values[kWords * b + i] = from[i][b];
  }
  for (int64_t i = kWords * whole; i < count; ++i) values[i] = from[i % kWords][whole];
}

}  // namespace

void draw_uniforms(uint64_t key, uint64_t stream, double low, double high, int64_t count,
                   float* values) {
  const Philox philox(key);
  float drawn[kWords][kBlocks];
  for (int64_t done = 0; done < count; done += kDraws) {
    draw_between(philox, stream, static_cast<uint64_t>(done / kWords), low, high - low, drawn);
    interleave(drawn, std::min(kDraws, count - done), values + done);
  }
}

void draw_normals(uint64_t key, uint64_t stream, double mean, double deviation, int64_t count,
                  float* values) {
  const Philox philox(key);
  Normals normals;
  for (int64_t done = 0; done < count; done += kDraws) {
    draw_approximately(philox, stream, static_cast<uint64_t>(done / kWords), mean, deviation,
                       &normals);
    make_exact(mean, deviation, &normals);
    interleave(normals.values, std::min(kDraws, count - done), values + done);
  }
}

}  // namespace caffe

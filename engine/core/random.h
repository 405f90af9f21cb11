#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace caffe {

// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC11). A draw is a pure function of its key and counter, so results depend neither on
// the number of workers nor on threads or restarts.
class Philox {
 public:
  explicit Philox(uint64_t key)
      : key_{static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)} {}

  // Four independent 32-bit words for one counter (two 64-bit halves).
  std::array<uint32_t, 4> block(uint64_t low, uint64_t high) const {
    std::array<uint32_t, 4> c{static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
                              static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
    for (uint32_t i = 0; i < kRounds; ++i) round(i, c[0], c[1], c[2], c[3]);
    return c;
  }

  // The same for the counters from `low` on, in the shape that SIMD code wants: words[i][b] is word
  // i of counter low + b.
  template <size_t kCount>
  [[gnu::always_inline]] void blocks(uint64_t low, uint64_t high,
                                     uint32_t (&words)[4][kCount]) const {
    for (size_t b = 0; b < kCount; ++b) {
      words[0][b] = static_cast<uint32_t>(low + b);
      words[1][b] = static_cast<uint32_t>((low + b) >> 32);
      words[2][b] = static_cast<uint32_t>(high);
      words[3][b] = static_cast<uint32_t>(high >> 32);
    }
    for (uint32_t i = 0; i < kRounds; ++i) {
      for (size_t b = 0; b < kCount; ++b)
        round(i, words[0][b], words[1][b], words[2][b], words[3][b]);
    }
  }

 private:
  static constexpr uint32_t kRounds = 10;

  [[gnu::always_inline]] void round(uint32_t index, uint32_t& c0, uint32_t& c1, uint32_t& c2,
                                    uint32_t& c3) const {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ (key_[0] + index * 0x9E3779B9u);
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ (key_[1] + index * 0xBB67AE85u);
    c3 = static_cast<uint32_t>(p0);
  }

  std::array<uint32_t, 2> key_;
};

// FNV-1a of a name, mixed with a seed: the key under which a layer or a blob draws.
inline uint64_t random_key(uint64_t seed, std::string_view name, uint64_t salt = 0) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (const char ch : name) h = (h ^ static_cast<unsigned char>(ch)) * 0x100000001b3ull;
  h ^= seed * 0x9E3779B97F4A7C15ull + salt * 0xBF58476D1CE4E5B9ull;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ull;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBull;
  return h ^ (h >> 31);
}

// The seed where none is configured: the one set here, else drawn from the system.
void set_default_seed(uint64_t seed);
uint64_t default_seed();

// [0, 1), 24 bits: exact in float.
inline float uniform01(uint32_t word) { return static_cast<float>(word >> 8) * 0x1.0p-24f; }

// Two independent standard normals of two words (Box-Muller).
inline std::array<double, 2> normal_pair(uint32_t first, uint32_t second) {
  const double u = (first + 0.5) * 0x1.0p-32;
  const double v = (second + 0.5) * 0x1.0p-32;
  const double radius = std::sqrt(-2.0 * std::log(u));
  const double angle = 6.283185307179586476925 * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// A stream of draws under one key and one 64-bit stream number (iteration, record position, ...).
class RandomStream {
 public:
  RandomStream(uint64_t key, uint64_t stream = 0) : philox_(key), stream_(stream) {}

  uint32_t next() {
    if (used_ == 4) {
      words_ = philox_.block(counter_++, stream_);
      used_ = 0;
    }
    return words_[used_++];
  }
  float uniform() { return uniform01(next()); }
  // Uniform in [0, n), without modulo bias worth naming (64-bit multiply-shift).
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{next()} * n) >> 32); }
  // Standard normal.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const uint32_t u = next();
    const auto [first, second] = normal_pair(u, next());
    spare_ = second;
    has_spare_ = true;
    return first;
  }

 private:
  Philox philox_;
  uint64_t stream_;
  uint64_t counter_ = 0;
  std::array<uint32_t, 4> words_{};
  int used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace caffe

#include "data/permutation.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/random.h"

namespace caffe {
namespace {

// Networks of fewer bits than this permute too evenly to look random.
constexpr int kLeastBits = 8;

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ull;
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ull;
  return x ^ (x >> 32);
}

}  // namespace

Permutation::Permutation(uint64_t seed, uint64_t epoch, int64_t size)
    : size_(static_cast<uint64_t>(size)) {
  CAFFE_REQUIRE(size >= 1, "cannot permute ", size, " records");
  const int bits = std::max<int>(kLeastBits, std::bit_width(size_ - 1));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
  const Philox philox(random_key(seed, "permutation"));
  for (int i = 0; i < kRounds; ++i) {
    const auto words = philox.block(static_cast<uint64_t>(i), epoch);
    keys_[i] = words[0] | uint64_t{words[1]} << 32;
  }
}

int64_t Permutation::operator()(int64_t index) const {
  auto value = static_cast<uint64_t>(index);
  do {
    int low_bits = low_bits_;
    int high_bits = high_bits_;
    for (const uint64_t key : keys_) {
      const uint64_t low = value & ((uint64_t{1} << low_bits) - 1);
      const uint64_t high = value >> low_bits;
      const uint64_t mask = (uint64_t{1} << high_bits) - 1;
      // The old low half becomes the new high half.
      value = low << high_bits | ((high ^ mix(low ^ key)) & mask);
      std::swap(low_bits, high_bits);
    }
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

}  // namespace caffe

#pragma once

#include <cstdint>

namespace caffe {

// A pseudo-random permutation of 0 .. size-1 that is computed element by element, in O(1) memory:
// an unbalanced Feistel network over the next power of two, walked until it falls inside the range
// (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Equal (seed, epoch,
// size) give the same permutation everywhere.
class Permutation {
 public:
  Permutation(uint64_t seed, uint64_t epoch, int64_t size);

  // `index` in [0, size).
  int64_t operator()(int64_t index) const;

 private:
  static constexpr int kRounds = 8;  // even, so that the halves return to their widths

  uint64_t size_;
  int low_bits_;
  int high_bits_;
  uint64_t keys_[kRounds];
};

}  // namespace caffe

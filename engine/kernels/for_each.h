#pragma once

#include <algorithm>
#include <cstdint>

namespace caffe {

// Below this many elements a second thread costs more than it brings.
inline constexpr int64_t kParallelGrain = 16384;

// work(i) for i in [0, n), in any order, on all of the process's compute threads.
template <typename Work>
void for_each(int64_t n, const Work& work) {
#pragma omp parallel for simd schedule(static) if (n > kParallelGrain)
  for (int64_t i = 0; i < n; ++i) work(i);
}

// work(i) for few, heavy i (a sample, a channel).
template <typename Work>
void for_each_heavy(int64_t n, const Work& work) {
#pragma omp parallel for schedule(static) if (n > 1)
  for (int64_t i = 0; i < n; ++i) work(i);
}

// work(begin, end) for pieces of [0, n) so small that a core's first cache holds one of several
// arrays: for loops that touch the same elements more than once.
template <typename Work>
void for_each_piece(int64_t n, const Work& work) {
  constexpr int64_t kPiece = 1024;
#pragma omp parallel for schedule(static) if (n > kParallelGrain)
  for (int64_t begin = 0; begin < n; begin += kPiece) work(begin, std::min(begin + kPiece, n));
}

}  // namespace caffe

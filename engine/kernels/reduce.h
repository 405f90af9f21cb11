#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/for_each.h"

namespace caffe {

// Sum of term(i) over [0, n) on the calling thread. Runs are summed in T, the runs' sums in double,
// so that the error does not grow with n.
template <typename T, typename Term>
double sum(int64_t n, const Term& term) {
  constexpr int64_t kRun = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t end = std::min(begin + kRun, n);
    T run = 0;
#pragma omp simd reduction(+ : run)
    for (int64_t i = begin; i < end; ++i) run += term(i);
    total += run;
  }
  return total;
}

// The same on all compute threads. The result does not depend on their number.
template <typename T, typename Term>
double parallel_sum(int64_t n, const Term& term) {
  constexpr int64_t kParts = 64;
  if (n <= kParallelGrain) return sum<T>(n, term);
  std::array<double, kParts> parts{};
  double* results = parts.data();
  for_each_heavy(kParts, [&](int64_t part) {
    const int64_t begin = n * part / kParts;
    results[part] =
        sum<T>(n * (part + 1) / kParts - begin, [&](int64_t i) { return term(begin + i); });
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

// An array seen as outer x middle x inner, of which something belongs to each index of the middle:
// a channel's statistics, a broadcast factor.
struct Middle {
  int64_t outer = 1;
  int64_t middle = 1;
  int64_t inner = 1;
  int64_t count() const { return outer * middle * inner; }
};

// work(index, channel) for every element.
template <typename Work>
void for_each_with_middle(const Middle& m, const Work& work) {
  const int64_t middle = m.middle;
  const int64_t inner = m.inner;
  if (inner == 1) {
    for_each_heavy(m.outer, [=](int64_t o) {
#pragma omp simd
      for (int64_t c = 0; c < middle; ++c) work(o * middle + c, c);
    });
    return;
  }
  for_each_heavy(m.outer * middle, [=](int64_t row) {
    const int64_t c = row % middle;
#pragma omp simd
    for (int64_t i = 0; i < inner; ++i) work(row * inner + i, c);
  });
}

// sum_over_middle for inner 1: whole pieces of rows at a time, because a column is one number per
// cache line.
template <typename T, typename Term, typename Result>
void sum_columns(const Middle& m, const Term& term, const Result& result) {
  constexpr int64_t kColumns = 64, kRun = 1024;
  for_each_heavy((m.middle + kColumns - 1) / kColumns, [&](int64_t block) {
    const int64_t first = block * kColumns;
    const int64_t columns = std::min(kColumns, m.middle - first);
    std::array<double, kColumns> totals{};
    for (int64_t begin = 0; begin < m.outer; begin += kRun) {
      const int64_t end = std::min(begin + kRun, m.outer);
      std::array<T, kColumns> run{};
      for (int64_t o = begin; o < end; ++o) {
        const int64_t row = o * m.middle + first;
        T* const sums = run.data();
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c) sums[c] += term(row + c, first + c);
      }
      for (size_t c = 0; c < run.size(); ++c) totals[c] += run[c];
    }
    for (int64_t c = 0; c < columns; ++c) result(first + c, totals[static_cast<size_t>(c)]);
  });
}

// result(channel, sum of term(index, channel) over the channel's elements) for every channel.
template <typename T, typename Term, typename Result>
void sum_over_middle(const Middle& m, const Term& term, const Result& result) {
  if (m.middle == 1) {
    result(int64_t{0}, parallel_sum<T>(m.count(), [&](int64_t i) { return term(i, 0); }));
    return;
  }
  if (m.inner == 1) {
    sum_columns<T>(m, term, result);
    return;
  }
  for_each_heavy(m.middle, [&](int64_t c) {
    double total = 0;
    for (int64_t o = 0; o < m.outer; ++o) {
      const int64_t begin = (o * m.middle + c) * m.inner;
      total += sum<T>(m.inner, [&](int64_t i) { return term(begin + i, c); });
    }
    result(c, total);
  });
}

}  // namespace caffe

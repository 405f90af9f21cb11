#include "kernels/few_rows.h"

#include <algorithm>

#include "core/clones.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

constexpr int64_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
constexpr int64_t kLine = 64 / sizeof(float);  // of a cache

// Columns of c that share a pass over a: their rows of b stay in the second cache meanwhile.
// Divisible by what each tile takes at once.
constexpr int64_t kBlock = 24;

struct Product {
  int64_t m, n, k;
  float alpha;
  const float* a;
  const float* b;
  float beta;
  float* c;

  void put(int64_t row, int64_t column, float sum) const {
    float& to = c[row * n + column];
    to = beta == 0 ? alpha * sum : alpha * sum + beta * to;
  }
};

// Rows of b that are fetched while others are worked with: so many floats by every step over k.
struct Ahead {
  const float* from;
  int64_t step;
};

[[gnu::always_inline]] inline float sum_of(const Lanes& x) {
  return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
}

// sums += the products of R rows of a and C rows of b, of kLanes columns.
template <int R, int C>
[[gnu::always_inline]] inline void add_products(int64_t k, const float* a, const float* b,
                                                Lanes (&sums)[R][C]) {
  Lanes left[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) left[r] = *reinterpret_cast<const Lanes*>(a + r * k);
#pragma GCC unroll 8
  for (int j = 0; j < C; ++j) {
    const Lanes right = *reinterpret_cast<const Lanes*>(b + j * k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r][j] += left[r] * right;
  }
}

// R rows of a by C rows of b: their sums fit into 16 registers. Lines: fetched ahead by each step,
// which takes a line of each row.
template <int R, int C, int Lines>
[[gnu::always_inline]] inline void multiply_tile(const Product& p, int64_t row, int64_t column,
                                                 Ahead* ahead) {
  const int64_t k = p.k;
  const float* const a = p.a + row * k;
  const float* const b = p.b + column * k;
  Lanes sums[R][C] = {};
  int64_t i = 0;
  for (; i + kLine <= k; i += kLine) {
#pragma GCC unroll 8
    for (int line = 0; line < Lines; ++line) __builtin_prefetch(ahead->from + line * kLine, 0, 2);
    ahead->from += ahead->step;
    add_products<R, C>(k, a + i, b + i, sums);
    add_products<R, C>(k, a + i + kLanes, b + i + kLanes, sums);
  }
  for (; i + kLanes <= k; i += kLanes) add_products<R, C>(k, a + i, b + i, sums);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < C; ++j) {
      float sum = sum_of(sums[r][j]);
      for (int64_t rest = i; rest < k; ++rest) sum += a[r * k + rest] * b[j * k + rest];
      p.put(row + r, column + j, sum);
    }
  }
}

// R rows by the columns first..last.
template <int R, int C, int Lines>
[[gnu::always_inline]] inline void multiply_rows(const Product& p, int64_t row, int64_t first,
                                                 int64_t last, Ahead ahead) {
  int64_t column = first;
  for (; column + C <= last; column += C) multiply_tile<R, C, Lines>(p, row, column, &ahead);
  for (; column < last; ++column) multiply_tile<R, 1, 1>(p, row, column, &ahead);
}

// All rows by the columns first..last, in tiles of four rows, or nearly so. Meanwhile the rows of b
// that come next are fetched, each tile's share by its own.
[[gnu::always_inline]] inline void multiply_block(const Product& p, int64_t first, int64_t last) {
  const int64_t tiles = (p.m + 3) / 4;
  const auto ahead = [&](int64_t tile, int64_t columns) {
    return Ahead{p.b + (last + tile * (last - first) / tiles) * p.k,
                 (columns * kLine + tiles - 1) / tiles};
  };
  if (p.m == 1) return multiply_rows<1, 4, 4>(p, 0, first, last, ahead(0, 4));
  if (p.m == 2) return multiply_rows<2, 6, 6>(p, 0, first, last, ahead(0, 6));
  if (p.m == 3) return multiply_rows<3, 4, 4>(p, 0, first, last, ahead(0, 4));
  if (p.m == 4) return multiply_rows<4, 3, 3>(p, 0, first, last, ahead(0, 3));
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t row = p.m * tile / tiles, rows = p.m * (tile + 1) / tiles - row;
    if (rows == 4) {
      multiply_rows<4, 3, 1>(p, row, first, last, ahead(tile, 3));
    } else if (rows == 3) {
      multiply_rows<3, 4, 1>(p, row, first, last, ahead(tile, 4));
    } else {
      multiply_rows<2, 6, 1>(p, row, first, last, ahead(tile, 6));
    }
  }
}

CAFFE_CLONES void multiply_columns(const Product& p, int64_t first, int64_t last) {
  multiply_block(p, first, last);
}

// Without AVX2 the tiles do not fit into the registers; with AVX-512 oneDNN has wider ones.
bool fast_here() {
#ifdef __x86_64__
  static const bool fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           !__builtin_cpu_supports("avx512f");
  return fast;
#else
  return true;
#endif
}

}  // namespace

bool few_rows(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kMostRows = 32;
  constexpr int64_t kLeastInner = 512;  // for less, adding up the lanes of the sums takes too long
  constexpr int64_t kMostInner = 2048;  // four rows fill the first cache
  return m <= kMostRows && n >= kBlock && k >= kLeastInner && k <= kMostInner && fast_here();
}

void multiply_few_rows(int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* b,
                       float beta, float* c) {
  const Product product{m, n, k, alpha, a, b, beta, c};
  const auto work = [&](int64_t block) {
    multiply_columns(product, block * kBlock, std::min((block + 1) * kBlock, n));
  };
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  if (m * n * k > kParallelGrain) return for_each_heavy(blocks, work);
  for (int64_t block = 0; block < blocks; ++block) work(block);
}

}  // namespace caffe

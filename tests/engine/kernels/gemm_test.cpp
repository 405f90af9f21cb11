#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "kernels/few_rows.h"

namespace caffe {
namespace {

std::vector<float> numbers(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  uint64_t state = seed;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<double>(state >> 40) / (1 << 23) - 1);
  }
  return values;
}

// a b' by multiply_few_rows against sums of doubles: sizes in which tiles, blocks and vectors come
// out whole, and sizes in which they do not.
TEST(FewRows, EqualSumsOfDoubles) {
  for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 9, 16, 18}) {
    for (const int64_t n : {24, 61}) {
      for (const int64_t k : {48, 72, 75}) {
        const std::vector<float> a = numbers(m * k, 1), b = numbers(n * k, 2);
        std::vector<float> c = numbers(m * n, 3);
        const std::vector<float> before = c;
        multiply_few_rows(m, n, k, 0.5f, a.data(), b.data(), 2, c.data());
        for (int64_t i = 0; i < m * n; ++i) {
          double sum = 0;
          for (int64_t j = 0; j < k; ++j)
            sum += static_cast<double>(a[static_cast<size_t>(i / n * k + j)]) *
                   b[static_cast<size_t>(i % n * k + j)];
          const auto at = static_cast<size_t>(i);
          ASSERT_NEAR(c[at], 0.5 * sum + 2.0 * before[at], 1e-5)
              << m << " x " << n << " x " << k << ", element " << i;
        }
      }
    }
  }
}

TEST(FewRows, OverwriteWhatIsNoNumberWithBetaZero) {
  const int64_t m = 2, n = 30, k = 40;
  const std::vector<float> a(m * k, 1), b(n * k, 2);
  std::vector<float> c(m * n, std::numeric_limits<float>::quiet_NaN());
  multiply_few_rows(m, n, k, 1, a.data(), b.data(), 0, c.data());
  for (const float value : c) EXPECT_EQ(value, 2 * k);
}

TEST(FewRows, ARowDoesNotDependOnHowManyThereAre) {
  const int64_t n = 50, k = 83;
  const std::vector<float> a = numbers(16 * k, 1), b = numbers(n * k, 2);
  std::vector<float> all(16 * n), one(n);
  multiply_few_rows(16, n, k, 1, a.data(), b.data(), 0, all.data());
  for (int64_t row = 0; row < 16; ++row) {
    multiply_few_rows(1, n, k, 1, a.data() + row * k, b.data(), 0, one.data());
    for (int64_t j = 0; j < n; ++j)
      EXPECT_EQ(one[static_cast<size_t>(j)], all[static_cast<size_t>(row * n + j)]) << row;
  }
}

// Every way through gemm gives the same product, the one for few rows among them.
TEST(Gemm, OfTransposedOperandsEqualsThatOfPlainOnes) {
  for (const int64_t m : {1, 5, 40}) {
    const int64_t n = 96, k = 600;
    const std::vector<float> a = numbers(m * k, 1), b = numbers(k * n, 2);
    std::vector<float> a_turned(a.size()), b_turned(b.size());
    for (int64_t i = 0; i < m * k; ++i)
      a_turned[static_cast<size_t>(i % k * m + i / k)] = a[static_cast<size_t>(i)];
    for (int64_t i = 0; i < k * n; ++i)
      b_turned[static_cast<size_t>(i % n * k + i / n)] = b[static_cast<size_t>(i)];
    std::vector<float> plain(static_cast<size_t>(m * n)), turned(plain.size());
    gemm(Transpose::kNo, Transpose::kNo, m, n, k, 1, a.data(), b.data(), 0, plain.data());
    for (const bool turns_a : {false, true}) {
      gemm(turns_a ? Transpose::kYes : Transpose::kNo, Transpose::kYes, m, n, k, 1,
           turns_a ? a_turned.data() : a.data(), b_turned.data(), 0, turned.data());
      for (size_t i = 0; i < plain.size(); ++i)
        ASSERT_NEAR(plain[i], turned[i], 1e-4) << m << " rows, element " << i;
    }
  }
}

}  // namespace
}  // namespace caffe

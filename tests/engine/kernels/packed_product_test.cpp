#include "kernels/packed_product.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "backends/cpu/precision.h"

namespace caffe {
namespace {

// Whole numbers below 16: the same in bfloat16, and their sums in float.
std::vector<float> whole_numbers(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random() % 16) - 8;
  return values;
}

float element(const std::vector<float>& matrix, Transpose transpose, int64_t rows, int64_t columns,
              int64_t row, int64_t column) {
  const bool exchanged = transpose == Transpose::kYes;
  return matrix[static_cast<size_t>(exchanged ? column * rows + row : row * columns + column)];
}

class PackedProducts : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (!supports(GetParam())) GTEST_SKIP() << "this processor does not compute in bf16";
  }
};

TEST_P(PackedProducts, EqualSumsOfProducts) {
  using enum Transpose;
  for (const auto& [trans_a, trans_b] :
       {std::pair{kNo, kNo}, std::pair{kNo, kYes}, std::pair{kYes, kNo}, std::pair{kYes, kYes}}) {
    for (const bool adds : {false, true}) {
      const int64_t m = 7, n = 33, k = 50;
      PackedProduct product({GetParam(), trans_a, trans_b, m, n, k, adds});
      const std::vector<float> b = whole_numbers(k * n, 2);
      product.set_b(b.data());
      for (const unsigned seed : {1U, 5U}) {
        const std::vector<float> a = whole_numbers(m * k, seed);
        std::vector<float> c = whole_numbers(m * n, 3);
        const std::vector<float> before = c;
        product.run(a.data(), c.data());
        for (int64_t i = 0; i < m * n; ++i) {
          float sum = adds ? before[static_cast<size_t>(i)] : 0;
          for (int64_t j = 0; j < k; ++j)
            sum += element(a, trans_a, m, k, i / n, j) * element(b, trans_b, k, n, j, i % n);
          ASSERT_EQ(c[static_cast<size_t>(i)], sum) << "element " << i;
        }
      }
    }
  }
}

TEST_P(PackedProducts, KeepWhatWasSetUntilItIsSetAnew) {
  PackedProduct product({GetParam(), Transpose::kNo, Transpose::kNo, 1, 1, 2, false});
  std::vector<float> a = {1, 2}, b = {3, 4};
  float c = 0;
  product.set_b(b.data());
  b[0] = 100;
  product.run(a.data(), &c);
  EXPECT_EQ(c, 11);
  product.set_b(b.data());
  product.run(a.data(), &c);
  EXPECT_EQ(c, 108);
}

INSTANTIATE_TEST_SUITE_P(Precisions, PackedProducts,
                         ::testing::Values(Precision::kF32, Precision::kBF16),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace caffe

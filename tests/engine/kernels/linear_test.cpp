#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace caffe {
namespace {

template <typename T>
class Linear : public ::testing::Test {
 protected:
  // Lengths with and without a rest behind the vectors.
  static constexpr int kLengths[] = {0, 1, 7, 64, 101};

  static std::vector<T> numbers(int n, int step) {
    std::vector<T> values(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i)
      values[static_cast<size_t>(i)] = T(static_cast<float>(i * step % 19 - 9));
    return values;
  }
  template <typename Expected>
  static void expect(const std::vector<T>& actual, const Expected& expected) {
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_EQ(float(actual[i]), expected(i)) << i;
  }
};
using Numbers = ::testing::Types<float, BF16>;
TYPED_TEST_SUITE(Linear, Numbers);

TYPED_TEST(Linear, LoopsDoWhatTheySay) {
  for (const int n : this->kLengths) {
    const auto x = this->numbers(n, 5), z = this->numbers(n, 7);
    auto y = this->numbers(n, 3);
    combine(n, 2, x.data(), -1, z.data(), y.data());
    this->expect(y, [&](size_t i) { return 2 * x[i] - z[i]; });
    combine_and_rectify(n, 2, x.data(), -1, z.data(), y.data());
    this->expect(y, [&](size_t i) { return std::max(2 * x[i] - z[i], 0.F); });
    y = z;
    accumulate(n, 3, x.data(), y.data());
    this->expect(y, [&](size_t i) { return z[i] + 3 * x[i]; });
    y = z;
    rectify(n, y.data());
    this->expect(y, [&](size_t i) { return z[i] < 0 ? 0.F : float(z[i]); });
    scale(n, 4, x.data(), y.data());
    this->expect(y, [&](size_t i) { return 4 * x[i]; });
    scale_where_positive(n, 4, x.data(), z.data(), y.data());
    this->expect(y, [&](size_t i) { return z[i] > 0 ? 4 * x[i] : 0; });
  }
}

TYPED_TEST(Linear, ArraysMayBeTheSame) {
  const auto x = this->numbers(101, 5);
  auto y = x;
  combine(101, 1, y.data(), 1, y.data(), y.data());
  this->expect(y, [&](size_t i) { return 2 * x[i]; });
  y = x;
  scale_where_positive(101, 1, y.data(), y.data(), y.data());
  this->expect(y, [&](size_t i) { return x[i] > 0 ? float(x[i]) : 0; });
}

}  // namespace
}  // namespace caffe

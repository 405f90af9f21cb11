#include "kernels/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace caffe::testing {
namespace {

std::vector<double> expected(const Middle& m, const std::vector<float>& x) {
  std::vector<double> y(x.size());
  for (int64_t o = 0; o < m.outer; ++o) {
    for (int64_t i = 0; i < m.inner; ++i) {
      const auto at = [&](int64_t c) {
        return static_cast<size_t>((o * m.middle + c) * m.inner + i);
      };
      float largest = x[at(0)];  // the difference is rounded as a float, in any implementation
      double total = 0;
      for (int64_t c = 0; c < m.middle; ++c) largest = std::max(largest, x[at(c)]);
      for (int64_t c = 0; c < m.middle; ++c) total += y[at(c)] = std::exp(x[at(c)] - largest);
      for (int64_t c = 0; c < m.middle; ++c) y[at(c)] /= total;
    }
  }
  return y;
}

TEST(Softmax, RowsAndPlanesOfAnySizeAlsoInPlace) {
  for (const Middle m :
       {Middle{3, 8801, 1}, Middle{5, 1, 1}, Middle{2, 21, 300}, Middle{2, 3, 5}}) {
    std::mt19937 random(1);
    std::normal_distribution<float> gaussian(0.f, 20.f);
    std::vector<float> x(static_cast<size_t>(m.count())), y(x.size());
    std::vector<float> scratch(static_cast<size_t>(m.outer * m.inner));
    for (float& value : x) value = gaussian(random);
    const std::vector<double> right = expected(m, x);
    softmax(m, x.data(), y.data(), scratch.data());
    softmax(m, x.data(), x.data(), scratch.data());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], right[i], 2e-6 * right[i] + 1e-30) << m.middle << " classes, at " << i;
      ASSERT_EQ(x[i], y[i]);
    }
  }
}

TEST(Softmax, ClassesThatAreMaskedOutGetNothing) {
  const float x[] = {-1e30f, 2.f, -INFINITY};
  float y[3];
  softmax_row(3, x, y);
  EXPECT_EQ(y[0], 0.f);
  EXPECT_EQ(y[1], 1.f);
  EXPECT_EQ(y[2], 0.f);
}

}  // namespace
}  // namespace caffe::testing

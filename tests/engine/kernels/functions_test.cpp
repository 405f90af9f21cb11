#include "kernels/functions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace caffe::testing {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename Function, typename Exact>
void expect_close(float least, float most, const Function& function, const Exact& exact) {
  constexpr int kPoints = 20000;
  for (int i = 0; i <= kPoints; ++i) {
    const float x = least + (most - least) * static_cast<float>(i) / kPoints;
    const double expected = exact(static_cast<double>(x));
    ASSERT_NEAR(function(x), expected, 4e-7 * std::abs(expected)) << "at " << x;
  }
}

TEST(Functions, FloatsAreCloseToTheLibrarysDoubles) {
  for (const float range : {86.f, 8.f, 1.f, 1e-3f, 1e-20f}) {
    expect_close(
        -range, range, [](float x) { return functions::exp(x); },
        [](double x) { return std::exp(x); });
    expect_close(
        -range, range, [](float x) { return functions::tanh(x); },
        [](double x) { return std::tanh(x); });
    expect_close(
        -range, range, [](float x) { return functions::sigmoid(x); },
        [](double x) { return 1 / (1 + std::exp(-x)); });
  }
}

TEST(Functions, FarOutAndNotNumbers) {
  EXPECT_EQ(functions::exp(-1000.f), 0.f);
  EXPECT_EQ(functions::exp(-kInfinity), 0.f);
  EXPECT_GT(functions::exp(1000.f), 1e38f);
  EXPECT_EQ(functions::tanh(kInfinity), 1.f);
  EXPECT_EQ(functions::tanh(-1000.f), -1.f);
  EXPECT_EQ(functions::sigmoid(1000.f), 1.f);
  EXPECT_NEAR(functions::sigmoid(-kInfinity), 0.f, 1e-37f);
  EXPECT_TRUE(std::isnan(functions::exp(kNaN)));
  EXPECT_TRUE(std::isnan(functions::tanh(kNaN)));
  EXPECT_TRUE(std::isnan(functions::sigmoid(kNaN)));
}

}  // namespace
}  // namespace caffe::testing

#include "kernels/reduce.h"

#include <gtest/gtest.h>

#include <vector>

namespace caffe::testing {
namespace {

// Sums of whole numbers have no rounding, so any order gives the same.
TEST(SumOverMiddle, EqualsThePlainSum) {
  for (const Middle m : {Middle{1, 1, 1}, Middle{2500, 130, 1}, Middle{3, 64, 1}, Middle{2, 7, 9},
                         Middle{4, 1, 20000}, Middle{0, 3, 1}}) {
    std::vector<double> sums(static_cast<size_t>(m.middle), -1);
    sum_over_middle<float>(
        m, [](int64_t i, int64_t c) { return static_cast<float>(i % 5 + c); },
        [&](int64_t c, double total) { sums[static_cast<size_t>(c)] = total; });
    std::vector<double> right(sums.size(), 0);
    for (int64_t i = 0; i < m.count(); ++i) {
      const int64_t c = i / m.inner % m.middle;
      right[static_cast<size_t>(c)] += static_cast<double>(i % 5 + c);
    }
    EXPECT_EQ(sums, right) << m.outer << " x " << m.middle << " x " << m.inner;
  }
}

}  // namespace
}  // namespace caffe::testing

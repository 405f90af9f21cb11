#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/npz.h"

namespace caffe::testing {

// max of |a-b| / (atol max(1, max|b|) + rtol |b|): at most 1 where `found` agrees with the fixture.
// The rule of tests/golden/tools/check_golden.py. Shapes must agree; a scalar may have shape () or
// (1).
template <typename T>
double golden_error(const std::vector<int64_t>& shape, const T* found, const NpzArray& expected,
                    double rtol, double atol) {
  const double infinity = std::numeric_limits<double>::infinity();
  size_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
  if (count != expected.values.size()) return infinity;
  if (shape != expected.shape && count != 1) return infinity;
  double largest = 1;
  for (const double value : expected.values) largest = std::max(largest, std::abs(value));
  double worst = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(static_cast<double>(found[i]))) return infinity;
    const double b = expected.values[i];
    worst = std::max(
        worst, std::abs(static_cast<double>(found[i]) - b) / (atol * largest + rtol * std::abs(b)));
  }
  return worst;
}

}  // namespace caffe::testing

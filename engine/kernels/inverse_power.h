#pragma once

#include <cmath>

namespace caffe {

// work(f) with f(s) = s^-beta, the exponents of published nets made of square roots.
template <typename T, typename Work>
void with_inverse_power(T beta, const Work& work) {
  if (beta == T{0.75}) {
    work([](T s) {
      const T root = std::sqrt(s);
      return 1 / (root * std::sqrt(root));
    });
  } else if (beta == T{0.5}) {
    work([](T s) { return 1 / std::sqrt(s); });
  } else {
    work([=](T s) { return std::pow(s, -beta); });
  }
}

}  // namespace caffe

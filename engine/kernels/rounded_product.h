#pragma once

#include <cstdint>
#include <memory>

#include "kernels/gemm.h"

namespace caffe {

// Products of matrices of one shape, row-major without gaps: op(a) is m x k, op(b) k x n, c m x n.
// Operands are rounded to bfloat16, sums are float32. For processors that do that fast
// (backends/cpu/precision.h).
class RoundedProduct {
 public:
  // c = op(a) op(b), or c += op(a) op(b) where it adds.
  struct Shape {
    Transpose trans_a, trans_b;
    int64_t m, n, k;
    bool adds;
    bool operator==(const Shape&) const = default;
  };
  explicit RoundedProduct(const Shape& shape);
  ~RoundedProduct();
  RoundedProduct(const RoundedProduct&) = delete;
  RoundedProduct& operator=(const RoundedProduct&) = delete;

  const Shape& shape() const { return shape_; }
  // Brings b into the order in which it is multiplied. What follows uses that, so weights are
  // brought there once for many products.
  void set_b(const float* b);
  void run(const float* a, float* c);

 private:
  struct Kernel;
  Shape shape_;
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace caffe

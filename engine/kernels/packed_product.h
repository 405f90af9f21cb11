#pragma once

#include <cstdint>
#include <memory>

#include "core/precision.h"
#include "kernels/gemm.h"

namespace caffe {

// Products of matrices of one shape, row-major without gaps: op(a) is m x k, op(b) k x n, c m x n.
// b is brought into the order in which it is multiplied fastest, once for many products. In bf16
// a and b are rounded; sums are float32.
class PackedProduct {
 public:
  // c = op(a) op(b), or c += op(a) op(b) where it adds.
  struct Shape {
    Precision precision;
    Transpose trans_a, trans_b;
    int64_t m, n, k;
    bool adds;
    bool operator==(const Shape&) const = default;
  };
  // Whether that is faster than gemm, also if b is another one each time.
  static bool faster(const Shape& shape);

  explicit PackedProduct(const Shape& shape);
  ~PackedProduct();
  PackedProduct(const PackedProduct&) = delete;
  PackedProduct& operator=(const PackedProduct&) = delete;

  const Shape& shape() const { return shape_; }
  void set_b(const float* b);
  void run(const float* a, float* c);

 private:
  struct Kernel;
  Shape shape_;
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace caffe

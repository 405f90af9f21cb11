#pragma once

#include <cstdint>

namespace caffe {

enum class Transpose { kNo, kYes };

// c = alpha * op(a) * op(b) + beta * c, row-major without gaps: op(a) is m x k, op(b) k x n, c m x
// n. With beta 0, c is overwritten whatever it held.
void gemm(Transpose trans_a, Transpose trans_b, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, const float* b, float beta, float* c);
void gemm(Transpose trans_a, Transpose trans_b, int64_t m, int64_t n, int64_t k, double alpha,
          const double* a, const double* b, double beta, double* c);

}  // namespace caffe

#include "kernels/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "core/error.h"
#include "kernels/few_rows.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

template <typename T>
void scale(int64_t count, T beta, T* c) {
  for_each(count, [=](int64_t i) { c[i] = beta == 0 ? T{0} : beta * c[i]; });
}

}  // namespace

void gemm(Transpose trans_a, Transpose trans_b, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, const float* b, float beta, float* c) {
  if (m == 0 || n == 0) return;
  if (k == 0) return scale(m * n, beta, c);
  const bool ta = trans_a == Transpose::kYes;
  const bool tb = trans_b == Transpose::kYes;
  if (!ta && tb && few_rows(m, n, k)) return multiply_few_rows(m, n, k, alpha, a, b, beta, c);
  const dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a,
                                          ta ? m : k, b, tb ? k : n, beta, c, n);
  CAFFE_REQUIRE_CODE(status == dnnl_success, ErrorCode::kInternal, "the product of matrices of ", m,
                     "x", k, " and ", k, "x", n, " failed: oneDNN status ",
                     static_cast<int>(status));
}

void gemm(Transpose trans_a, Transpose trans_b, int64_t m, int64_t n, int64_t k, double alpha,
          const double* a, const double* b, double beta, double* c) {
  const int64_t a_row = trans_a == Transpose::kYes ? 1 : k;
  const int64_t a_column = trans_a == Transpose::kYes ? m : 1;
  scale(m * n, beta, c);
  for_each_heavy(m, [=](int64_t i) {
    double* row = c + i * n;
    if (trans_b == Transpose::kYes) {
      for (int64_t j = 0; j < n; ++j) {
        double dot = 0;
        for (int64_t p = 0; p < k; ++p) dot += a[i * a_row + p * a_column] * b[j * k + p];
        row[j] += alpha * dot;
      }
      return;
    }
    for (int64_t p = 0; p < k; ++p) {
      const double factor = alpha * a[i * a_row + p * a_column];
      for (int64_t j = 0; j < n; ++j) row[j] += factor * b[p * n + j];
    }
  });
}

}  // namespace caffe

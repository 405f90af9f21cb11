#pragma once

#include <cstdint>

namespace caffe {

// Whether multiply_few_rows is the better gemm for c = op(a) b', a m x k, b n x k: a few rows of
// activations by weights as Caffe keeps them, on AVX2. That is bound by the memory in which the
// weights lie, and a general product first copies them into an order of its own.
bool few_rows(int64_t m, int64_t n, int64_t k);

// c = alpha * a b' + beta * c; with beta 0, c is overwritten whatever it held. What a row comes to
// does not depend on how many rows there are, nor on the number of threads.
void multiply_few_rows(int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* b,
                       float beta, float* c);

}  // namespace caffe

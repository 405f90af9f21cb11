#include "layers/lstm_unit.h"

#include "core/clones.h"
#include "kernels/functions.h"

namespace caffe {
namespace {

template <typename T>
[[gnu::always_inline]] inline void forward_of(int64_t h, const T* x, T cont, const T* c_before,
                                              T* gates, T* c, T* y) {
#pragma omp simd
  for (int64_t j = 0; j < h; ++j) {
    const T i = functions::sigmoid(x[j]);
    const T open = cont * functions::sigmoid(x[h + j]);
    const T f = cont == 0 ? T{0} : open;
    const T o = functions::sigmoid(x[2 * h + j]);
    const T g = functions::tanh(x[3 * h + j]);
    const T cell = f * c_before[j] + i * g;
    gates[j] = i;
    gates[h + j] = f;
    gates[2 * h + j] = o;
    gates[3 * h + j] = g;
    c[j] = cell;
    y[j] = o * functions::tanh(cell);
  }
}

template <typename T>
[[gnu::always_inline]] inline void backward_of(int64_t h, const T* gates, const T* c_before,
                                               const T* c, const T* dc, const T* dy, T* dx,
                                               T* dc_before) {
#pragma omp simd
  for (int64_t j = 0; j < h; ++j) {
    const T i = gates[j], f = gates[h + j], o = gates[2 * h + j], g = gates[3 * h + j];
    const T squashed = functions::tanh(c[j]);
    const T total = dc[j] + dy[j] * o * (1 - squashed * squashed);
    dx[j] = total * g * i * (1 - i);
    dx[h + j] = total * c_before[j] * f * (1 - f);
    dx[2 * h + j] = dy[j] * squashed * o * (1 - o);
    dx[3 * h + j] = total * i * (1 - g * g);
    dc_before[j] = total * f;
  }
}

}  // namespace

CAFFE_CLONES void lstm_cells_forward(int64_t h, const float* x, float cont, const float* c_before,
                                     float* gates, float* c, float* y) {
  forward_of(h, x, cont, c_before, gates, c, y);
}

void lstm_cells_forward(int64_t h, const double* x, double cont, const double* c_before,
                        double* gates, double* c, double* y) {
  forward_of(h, x, cont, c_before, gates, c, y);
}

CAFFE_CLONES void lstm_cells_backward(int64_t h, const float* gates, const float* c_before,
                                      const float* c, const float* dc, const float* dy, float* dx,
                                      float* dc_before) {
  backward_of(h, gates, c_before, c, dc, dy, dx, dc_before);
}

void lstm_cells_backward(int64_t h, const double* gates, const double* c_before, const double* c,
                         const double* dc, const double* dy, double* dx, double* dc_before) {
  backward_of(h, gates, c_before, c, dc, dy, dx, dc_before);
}

}  // namespace caffe

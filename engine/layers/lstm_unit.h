#pragma once

#include <cstdint>

#include "kernels/for_each.h"

namespace caffe {

// One time step of an LSTM (Hochreiter and Schmidhuber 1997, with a forget gate) for streams of h
// cells. Gates are h each: input, forget, output, candidate.
//   c = f c_before + i g,  y = o tanh(c)
// The forget gate is closed where cont, one number per stream, is 0.

// Of one stream. x: the gates' inputs; gates (may be x): their values.
void lstm_cells_forward(int64_t h, const float* x, float cont, const float* c_before, float* gates,
                        float* c, float* y);
void lstm_cells_forward(int64_t h, const double* x, double cont, const double* c_before,
                        double* gates, double* c, double* y);
// dc: the gradient that comes to c from the next step; dc_before (may be dc) and dx: what goes on.
void lstm_cells_backward(int64_t h, const float* gates, const float* c_before, const float* c,
                         const float* dc, const float* dy, float* dx, float* dc_before);
void lstm_cells_backward(int64_t h, const double* gates, const double* c_before, const double* c,
                         const double* dc, const double* dy, double* dx, double* dc_before);

// Of n streams.
template <typename T>
void lstm_unit_forward(int64_t n, int64_t h, const T* x, const T* cont, const T* c_before, T* gates,
                       T* c, T* y) {
  for_each_heavy(n, [=](int64_t row) {
    const int64_t cells = row * h;
    lstm_cells_forward(h, x + 4 * cells, cont[row], c_before + cells, gates + 4 * cells, c + cells,
                       y + cells);
  });
}

template <typename T>
void lstm_unit_backward(int64_t n, int64_t h, const T* gates, const T* c_before, const T* c,
                        const T* dc, const T* dy, T* dx, T* dc_before) {
  for_each_heavy(n, [=](int64_t row) {
    const int64_t cells = row * h;
    lstm_cells_backward(h, gates + 4 * cells, c_before + cells, c + cells, dc + cells, dy + cells,
                        dx + 4 * cells, dc_before + cells);
  });
}

}  // namespace caffe

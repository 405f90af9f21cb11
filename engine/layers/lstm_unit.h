#pragma once

#include <cmath>

#include "kernels/for_each.h"

namespace caffe {

// One time step of an LSTM (Hochreiter and Schmidhuber 1997, with a forget gate) for n streams of h
// cells. Gates are n x 4h: input, forget, output, candidate.
//   c = f c_before + i g,  y = o tanh(c)
// The forget gate is closed where cont, one number per stream, is 0.

// x: the gates' inputs; gates (may be x): their values.
template <typename T>
void lstm_unit_forward(int64_t n, int64_t h, const T* x, const T* cont, const T* c_before, T* gates,
                       T* c, T* y) {
  const auto sigmoid = [](T value) { return std::tanh(value / 2) / 2 + T{0.5}; };
  for_each_heavy(n, [=](int64_t row) {
    const T* in = x + row * 4 * h;
    T* gate = gates + row * 4 * h;
    for (int64_t j = 0; j < h; ++j) {
      const T i = sigmoid(in[j]);
      const T f = cont[row] == 0 ? T{0} : cont[row] * sigmoid(in[h + j]);
      const T o = sigmoid(in[2 * h + j]);
      const T g = std::tanh(in[3 * h + j]);
      gate[j] = i;
      gate[h + j] = f;
      gate[2 * h + j] = o;
      gate[3 * h + j] = g;
      c[row * h + j] = f * c_before[row * h + j] + i * g;
      y[row * h + j] = o * std::tanh(c[row * h + j]);
    }
  });
}

// dc: the gradient that comes to c from the next step; dc_before (may be dc) and dx: what goes on.
template <typename T>
void lstm_unit_backward(int64_t n, int64_t h, const T* gates, const T* c_before, const T* c,
                        const T* dc, const T* dy, T* dx, T* dc_before) {
  for_each_heavy(n, [=](int64_t row) {
    const T* gate = gates + row * 4 * h;
    T* out = dx + row * 4 * h;
    for (int64_t j = 0; j < h; ++j) {
      const int64_t at = row * h + j;
      const T i = gate[j], f = gate[h + j], o = gate[2 * h + j], g = gate[3 * h + j];
      const T squashed = std::tanh(c[at]);
      const T total = dc[at] + dy[at] * o * (1 - squashed * squashed);
      out[j] = total * g * i * (1 - i);
      out[h + j] = total * c_before[at] * f * (1 - f);
      out[2 * h + j] = dy[at] * squashed * o * (1 - o);
      out[3 * h + j] = total * i * (1 - g * g);
      dc_before[at] = total * f;
    }
  });
}

}  // namespace caffe

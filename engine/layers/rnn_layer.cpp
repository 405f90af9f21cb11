#include <cmath>

#include "layers/recurrent_layer.h"

namespace caffe {
namespace {

// The plain recurrent net: h_t = tanh(W_hh h_(t-1) + W_xh x_t + b_h), o_t = tanh(W_ho h_t + b_o).
// Parameters of its own: W_ho (H x H), b_o (H). The hidden states are the activated gates.
class RNNLayer : public RecurrentLayer<RNNLayer> {
 public:
  static constexpr int kGates = 1;
  static constexpr int kStates = 1;

  using RecurrentLayer::RecurrentLayer;

  void add_own_parameters() {
    add_parameter({outputs_, outputs_}, parameters().weight_filler());
    add_parameter({outputs_}, parameters().bias_filler());
  }

  template <typename T>
  T* hidden(const Blobs&) {
    return gates().overwrite_data<T>();
  }
  template <typename T>
  const T* state(int, const Blobs&) {
    return gates().data_as<T>();
  }

  template <typename T>
  void forward_step(int64_t, T* gates, const T*, const std::vector<const T*>&, const Blobs&) {
    for_each(step(), [=](int64_t i) { gates[i] = std::tanh(gates[i]); });
  }
  template <typename T>
  void finish_forward(const Blobs& top) {
    T* y = top[0]->overwrite_data<T>();
    const T* bias = parameter<T>(output_weights() + 1);
    const int64_t n = outputs_;
    gemm(Transpose::kNo, Transpose::kYes, steps_ * streams_, n, n, T{1}, gates().data_as<T>(),
         parameter<T>(output_weights()), T{0}, y);
    for_each_with_middle({steps_ * streams_, n, 1},
                         [=](int64_t i, int64_t c) { y[i] = std::tanh(y[i] + bias[c]); });
  }

  template <typename T>
  void start_backward(const Blobs& top, T* dh) {
    const int64_t rows = steps_ * streams_, n = outputs_;
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* before_tanh = gates().overwrite_diff<T>();
    for_each(rows * n, [=](int64_t i) { before_tanh[i] = dy[i] * (1 - y[i] * y[i]); });
    add_gradient(output_weights(), static_cast<const T*>(before_tanh), gates().data_as<T>(), rows,
                 n, n);
    add_bias_gradient(output_weights() + 1, static_cast<const T*>(before_tanh), rows, n);
    gemm(Transpose::kNo, Transpose::kNo, rows, n, n, T{1}, before_tanh,
         parameter<T>(output_weights()), T{0}, dh);
  }
  template <typename T>
  void backward_step(int64_t, const T* gates, T* dgates, const T* dh, const std::vector<const T*>&,
                     const std::vector<T*>&) {
    for_each(step(), [=](int64_t i) { dgates[i] = dh[i] * (1 - gates[i] * gates[i]); });
  }

 private:
  size_t output_weights() const { return hidden_weights() + 1; }
};

CAFFE_REGISTER_LAYER(RNN, RNNLayer);

}  // namespace
}  // namespace caffe

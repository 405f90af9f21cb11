#include <cmath>

#include "layers/recurrent_layer.h"

namespace caffe {
namespace {

// The plain recurrent net: h_t = tanh(W_hh h_(t-1) + W_xh x_t + b_h), o_t = tanh(W_ho h_t + b_o).
// Parameters of its own: W_ho (H x H), b_o (H).
class RNNLayer : public RecurrentLayer<RNNLayer> {
 public:
  static constexpr int kGates = 1;
  static constexpr int kStates = 1;

  RNNLayer(const LayerParameter& param, const RunContext& context)
      : RecurrentLayer(param, context), hidden_(context.dtype) {}

  void add_own_parameters() {
    add_parameter({outputs_, outputs_}, parameters().weight_filler());
    add_parameter({outputs_}, parameters().bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    RecurrentLayer::reshape(bottom, top);
    hidden_.reshape({steps_, streams_, outputs_});
  }

  template <typename T>
  T* hidden(const Blobs&) {
    return hidden_.overwrite_data<T>();
  }
  template <typename T>
  const T* state(int, const Blobs&) const {
    return hidden_.data_as<T>();
  }

  template <typename T>
  void forward_step(int64_t t, T* gates, const T*, const std::vector<const T*>&, const Blobs&) {
    T* h = hidden_.overwrite_data<T>() + t * step();
    for_each(step(), [=](int64_t i) { h[i] = gates[i] = std::tanh(gates[i]); });
  }
  template <typename T>
  void finish_forward(const Blobs& top) {
    T* y = top[0]->overwrite_data<T>();
    const T* bias = parameter<T>(output_weights() + 1);
    const int64_t n = outputs_;
    gemm(Transpose::kNo, Transpose::kYes, steps_ * streams_, n, n, T{1}, hidden_.data_as<T>(),
         parameter<T>(output_weights()), T{0}, y);
    for_each(top[0]->count(), [=](int64_t i) { y[i] = std::tanh(y[i] + bias[i % n]); });
  }

  template <typename T>
  void start_backward(const Blobs& top, T* dh) {
    const int64_t rows = steps_ * streams_, n = outputs_;
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* before_tanh = hidden_.overwrite_diff<T>();
    for_each(rows * n, [=](int64_t i) { before_tanh[i] = dy[i] * (1 - y[i] * y[i]); });
    add_gradient(output_weights(), static_cast<const T*>(before_tanh), hidden_.data_as<T>(), rows,
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

  Blob hidden_;  // of all steps; diff: the gradients before the outputs' tanh
};

CAFFE_REGISTER_LAYER(RNN, RNNLayer);

}  // namespace
}  // namespace caffe

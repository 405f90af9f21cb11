#include "layers/lstm_unit.h"
#include "layers/recurrent_layer.h"

namespace caffe {
namespace {

// Long short-term memory. States: hidden, cell.
class LSTMLayer : public RecurrentLayer<LSTMLayer> {
 public:
  static constexpr int kGates = 4;
  static constexpr int kStates = 2;

  LSTMLayer(const LayerParameter& param, const RunContext& context)
      : RecurrentLayer(param, context), cell_(context.dtype) {}

  void add_own_parameters() {}

  void reshape(const Blobs& bottom, const Blobs& top) override {
    RecurrentLayer::reshape(bottom, top);
    cell_.reshape({steps_, streams_, outputs_});
  }

  template <typename T>
  T* hidden(const Blobs& top) {
    return top[0]->overwrite_data<T>();
  }
  template <typename T>
  const T* state(int index, const Blobs& top) const {
    return (index == 0 ? *top[0] : cell_).data_as<T>();
  }

  template <typename T>
  void forward_step(int64_t t, T* gates, const T* cont, const std::vector<const T*>& initial,
                    const Blobs& top) {
    T* c = cell_.overwrite_data<T>();
    lstm_unit_forward(streams_, outputs_, gates, cont, cell_before(c, t, initial), gates,
                      c + t * step(), top[0]->overwrite_data<T>() + t * step());
  }
  template <typename T>
  void finish_forward(const Blobs&) {}

  template <typename T>
  void start_backward(const Blobs& top, T* dh) {
    std::copy_n(top[0]->diff_as<T>(), top[0]->count(), dh);
  }
  template <typename T>
  void backward_step(int64_t t, const T* gates, T* dgates, const T* dh,
                     const std::vector<const T*>& initial, const std::vector<T*>& dstates) {
    const T* c = cell_.data_as<T>();
    lstm_unit_backward(streams_, outputs_, gates, cell_before(c, t, initial), c + t * step(),
                       static_cast<const T*>(dstates[1]), dh, dgates, dstates[1]);
  }

 private:
  template <typename T>
  const T* cell_before(const T* c, int64_t t, const std::vector<const T*>& initial) const {
    return t == 0 ? initial[1] : c + (t - 1) * step();
  }

  Blob cell_;  // of all steps
};

CAFFE_REGISTER_LAYER(LSTM, LSTMLayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = 1 / (1 + exp(-x)), written with tanh so that nothing overflows. Backward needs y alone.
class SigmoidLayer : public PortableLayer<SigmoidLayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    if (top[0] != bottom[0]) top[0]->reshape(bottom[0]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const T half = 0.5;
    for_each(bottom[0]->count(), [=](int64_t i) { y[i] = half * std::tanh(half * x[i]) + half; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { dx[i] = dy[i] * y[i] * (1 - y[i]); });
  }
};

CAFFE_REGISTER_LAYER(Sigmoid, SigmoidLayer);

}  // namespace
}  // namespace caffe

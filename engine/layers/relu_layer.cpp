#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = x where x > 0, else negative_slope * x. At 0 the gradient is negative_slope's.
class ReLULayer : public PortableLayer<ReLULayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    if (top[0] != bottom[0]) top[0]->reshape(bottom[0]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T slope = param().relu_param().negative_slope();
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { y[i] = x[i] > 0 ? x[i] : slope * x[i]; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T slope = param().relu_param().negative_slope();
    const T* x = bottom[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { dx[i] = x[i] > 0 ? dy[i] : slope * dy[i]; });
  }
};

CAFFE_REGISTER_LAYER(ReLU, ReLULayer);

}  // namespace
}  // namespace caffe

#include "kernels/softmax.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = exp(x) / sum of exp(x) along an axis. Backward needs y alone, so it works in place.
class SoftmaxLayer : public PortableLayer<SoftmaxLayer> {
 public:
  SoftmaxLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), scratch_(context.dtype) {}

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().softmax_param().axis());
    if (top[0] != bottom[0]) top[0]->reshape(in);
    middle_ = {in.count(0, axis), in[axis], in.count(axis + 1)};
    scratch_.reshape({middle_.outer, middle_.inner});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    softmax(middle_, x, top[0]->overwrite_data<T>(), scratch_.overwrite_data<T>());
  }

  // dx = (dy - sum of dy y) y
  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    T* scratch = scratch_.overwrite_data<T>();
    const int64_t channels = middle_.middle;
    const int64_t inner = middle_.inner;
    for_each_heavy(middle_.outer, [=](int64_t o) {
      T* dot = scratch + o * inner;
      const int64_t first = o * channels * inner;
      std::fill_n(dot, inner, T{0});
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t row = first + c * inner;
        for (int64_t i = 0; i < inner; ++i) dot[i] += dy[row + i] * y[row + i];
      }
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t row = first + c * inner;
        for (int64_t i = 0; i < inner; ++i) dx[row + i] = (dy[row + i] - dot[i]) * y[row + i];
      }
    });
  }

 private:
  Middle middle_;
  Blob scratch_;
};

CAFFE_REGISTER_LAYER(Softmax, SoftmaxLayer);

}  // namespace
}  // namespace caffe

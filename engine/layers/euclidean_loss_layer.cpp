#include "kernels/reduce.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

// Sum of (a - b)^2 / 2N, N being the extent of axis 0. Has gradients for both bottoms.
class EuclideanLossLayer : public LossLayer<EuclideanLossLayer> {
 public:
  using LossLayer::LossLayer;

  bool allow_force_backward(int) const override { return true; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& a = bottom[0]->shape();
    const Shape& b = bottom[1]->shape();
    CAFFE_REQUIRE(a.axes() > 0 && b.axes() > 0 && a[0] == b[0] && a.count(1) == b.count(1),
                  "found bottoms ", a.str(), " and ", b.str(),
                  "; both must have the same number of rows and the same number of values per row");
    top[0]->reshape(Shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* a = bottom[0]->data_as<T>();
    const T* b = bottom[1]->data_as<T>();
    const double total = parallel_sum<T>(bottom[0]->count(),
                                         [=](int64_t i) { return (a[i] - b[i]) * (a[i] - b[i]); });
    top[0]->overwrite_data<T>()[0] =
        static_cast<T>(total / (2.0 * static_cast<double>(bottom[0]->shape(0))));
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* a = bottom[0]->data_as<T>();
    const T* b = bottom[1]->data_as<T>();
    const T weight = top[0]->diff_as<T>()[0] / static_cast<T>(bottom[0]->shape(0));
    for (size_t k = 0; k < 2; ++k) {
      if (!propagate_down[k]) continue;
      const T sign = k == 0 ? weight : -weight;
      T* dx = bottom[k]->overwrite_diff<T>();
      for_each(bottom[k]->count(), [=](int64_t i) { dx[i] = sign * (a[i] - b[i]); });
    }
  }
};

CAFFE_REGISTER_LAYER(EuclideanLoss, EuclideanLossLayer);

}  // namespace
}  // namespace caffe

#include "kernels/reduce.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

// One-versus-all hinge loss: sum over samples and classes of max(0, 1 - t x) or its square (norm:
// L2), t being 1 for the true class and -1 for others, divided by the number of samples.
class HingeLossLayer : public ClassLossLayer<HingeLossLayer> {
 public:
  using ClassLossLayer::ClassLossLayer;

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    check_labels(label);
    const int64_t classes = classes_;
    const bool squared = param().hinge_loss_param().norm() == HingeLossParameter::L2;
    const double total = parallel_sum<T>(bottom[0]->count(), [=](int64_t i) {
      const T margin = margin_of(x, label, classes, i);
      return squared ? margin * margin : margin;
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / static_cast<double>(rows_));
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    require_no_label_gradient(propagate_down);
    if (!propagate_down[0]) return;
    const T* x = bottom[0]->data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const int64_t classes = classes_;
    const bool squared = param().hinge_loss_param().norm() == HingeLossParameter::L2;
    const T weight = top[0]->diff_as<T>()[0] / static_cast<T>(rows_);
    for_each(bottom[0]->count(), [=](int64_t i) {
      const T margin = margin_of(x, label, classes, i);
      const T slope = squared ? 2 * margin : static_cast<T>(margin > 0);
      dx[i] = -sign_of(label, classes, i) * slope * weight;
    });
  }

 private:
  template <typename T>
  static T sign_of(const T* label, int64_t classes, int64_t i) {
    return static_cast<int64_t>(label[i / classes]) == i % classes ? T{1} : T{-1};
  }
  template <typename T>
  static T margin_of(const T* x, const T* label, int64_t classes, int64_t i) {
    const T margin = 1 - sign_of(label, classes, i) * x[i];
    return margin > 0 ? margin : T{0};
  }
};

CAFFE_REGISTER_LAYER(HingeLoss, HingeLossLayer);

}  // namespace
}  // namespace caffe

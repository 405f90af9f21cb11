#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

constexpr double kLeast = 1e-20;  // probabilities below it count as this

// Mean of -log(probability of the true class); the bottom holds probabilities.
class MultinomialLogisticLossLayer : public ClassLossLayer<MultinomialLogisticLossLayer> {
 public:
  using ClassLossLayer::ClassLossLayer;

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* p = bottom[0]->data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    check_labels(label);
    const int64_t classes = classes_;
    const double total = parallel_sum<T>(rows_, [=](int64_t r) {
      const T probability = p[r * classes + static_cast<int64_t>(label[r])];
      return -std::log(std::max(probability, static_cast<T>(kLeast)));
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / static_cast<double>(rows_));
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    require_no_label_gradient(propagate_down);
    if (!propagate_down[0]) return;
    const T* p = bottom[0]->data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, bottom[0]->count(), T{0});
    const T weight = top[0]->diff_as<T>()[0] / static_cast<T>(rows_);
    for (int64_t r = 0; r < rows_; ++r) {
      const int64_t at = r * classes_ + static_cast<int64_t>(label[r]);
      dx[at] = -weight / std::max(p[at], static_cast<T>(kLeast));
    }
  }
};

CAFFE_REGISTER_LAYER(MultinomialLogisticLoss, MultinomialLogisticLossLayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "kernels/reduce.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

// Sum of -t log s(x) - (1 - t) log(1 - s(x)) with s the sigmoid and targets t from 0 to 1, divided
// by the batch size unless loss_param says otherwise. Targets equal to ignore_label do not count.
class SigmoidCrossEntropyLossLayer : public LossLayer<SigmoidCrossEntropyLossLayer> {
 public:
  using LossLayer::LossLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.count() == bottom[1]->count(), "found ", bottom[1]->count(),
                  " targets (shape ", bottom[1]->shape().str(), ") for ", in.count(),
                  " predictions (shape ", in.str(), "); give one target for each");
    require_same_samples(bottom);
    top[0]->reshape(Shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    const T* target = bottom[1]->data_as<T>();
    const int64_t count = bottom[0]->count();
    const Labels rule = labels(0);
    valid_ = static_cast<int64_t>(
        parallel_sum<T>(count, [=](int64_t i) { return rule.ignored(target[i]) ? T{0} : T{1}; }));
    const double total = parallel_sum<T>(count, [=](int64_t i) {
      if (rule.ignored(target[i])) return T{0};
      return x[i] * (static_cast<T>(x[i] >= 0) - target[i]) + std::log1p(std::exp(-std::abs(x[i])));
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / divisor(bottom));
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    require_no_label_gradient(propagate_down);
    if (!propagate_down[0]) return;
    const T* x = bottom[0]->data_as<T>();
    const T* target = bottom[1]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const Labels rule = labels(0);
    const T weight = static_cast<T>(top[0]->diff_as<T>()[0] / divisor(bottom));
    for_each(bottom[0]->count(), [=](int64_t i) {
      const T sigmoid = std::tanh(x[i] / 2) / 2 + T{0.5};
      dx[i] = rule.ignored(target[i]) ? T{0} : weight * (sigmoid - target[i]);
    });
  }

 private:
  double divisor(const Blobs& bottom) const {
    const int64_t rows = bottom[0]->shape(0);
    return normaliser(LossParameter::BATCH_SIZE, rows,
                      bottom[0]->count() / std::max<int64_t>(rows, 1), valid_);
  }

  int64_t valid_ = 0;  // targets of this batch that are not ignored
};

CAFFE_REGISTER_LAYER(SigmoidCrossEntropyLoss, SigmoidCrossEntropyLossLayer);

}  // namespace
}  // namespace caffe

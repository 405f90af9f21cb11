#include <cfloat>
#include <cmath>

#include "kernels/softmax.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

// -log of the softmax probability of the true class, summed over all predictions and divided by the
// normaliser. A second top is the probabilities.
class SoftmaxWithLossLayer : public LossLayer<SoftmaxWithLossLayer> {
 public:
  SoftmaxWithLossLayer(const LayerParameter& param, const RunContext& context)
      : LossLayer(param, context), probability_(context.dtype), scratch_(context.dtype) {}

  Arity tops() const override { return Arity::between(1, 2); }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().softmax_param().axis());
    middle_ = {in.count(0, axis), in[axis], in.count(axis + 1)};
    require_labels(bottom, middle_.outer * middle_.inner, middle_.middle);
    top[0]->reshape(Shape());
    probability_.reshape(in);
    if (top.size() > 1) top[1]->reshape(in);
    scratch_.reshape({middle_.outer, middle_.inner});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* label = bottom[1]->data_as<T>();
    valid_ = labels(middle_.middle).check(*this, label, bottom[1]->count(), middle_.inner);
    T* p = probability_.overwrite_data<T>();
    softmax(middle_, bottom[0]->data_as<T>(), p, scratch_.overwrite_data<T>());
    const Labels rule = labels(middle_.middle);
    const Middle m = middle_;
    const double total = parallel_sum<T>(bottom[1]->count(), [=](int64_t i) {
      if (rule.ignored(label[i])) return T{0};
      const int64_t at =
          (i / m.inner * m.middle + static_cast<int64_t>(label[i])) * m.inner + i % m.inner;
      return -std::log(std::max(p[at], static_cast<T>(FLT_MIN)));
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / divisor());
    if (top.size() > 1) {
      T* copy = top[1]->overwrite_data<T>();
      for_each(probability_.count(), [=](int64_t i) { copy[i] = p[i]; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    require_no_label_gradient(propagate_down);
    if (!propagate_down[0]) return;
    const T weight = static_cast<T>(top[0]->diff_as<T>()[0] / divisor());
    const T* p = probability_.data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const Labels rule = labels(middle_.middle);
    const Middle m = middle_;
    for_each(m.count(), [=](int64_t i) { dx[i] = weight * p[i]; });
    for_each_heavy(m.outer, [=](int64_t o) {
      const int64_t first = o * m.middle * m.inner;
      for (int64_t i = 0; i < m.inner; ++i) {
        const T truth = label[o * m.inner + i];
        if (rule.ignored(truth)) {
          for (int64_t c = 0; c < m.middle; ++c) dx[first + c * m.inner + i] = 0;
        } else {
          dx[first + static_cast<int64_t>(truth) * m.inner + i] -= weight;
        }
      }
    });
  }

 private:
  double divisor() const {
    return normaliser(LossParameter::VALID, middle_.outer, middle_.inner, valid_);
  }

  Middle middle_;
  int64_t valid_ = 0;  // labels of this batch that are not ignored
  Blob probability_;
  Blob scratch_;
};

CAFFE_REGISTER_LAYER(SoftmaxWithLoss, SoftmaxWithLossLayer);

}  // namespace
}  // namespace caffe

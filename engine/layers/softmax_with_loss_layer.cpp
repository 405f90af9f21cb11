#include <cfloat>
#include <cmath>

#include "kernels/softmax.h"
#include "layers/labels.h"

namespace caffe {
namespace {

// -log of the softmax probability of the true class, summed over all predictions and divided by the
// normaliser. A second top is the probabilities.
class SoftmaxWithLossLayer : public PortableLayer<SoftmaxWithLossLayer> {
 public:
  SoftmaxWithLossLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), probability_(context.dtype), scratch_(context.dtype) {}

  Arity bottoms() const override { return Arity::exactly(2); }
  Arity tops() const override { return Arity::between(1, 2); }
  int automatic_tops() const override { return 1; }
  float default_loss_weight(int index) const override { return index == 0 ? 1.0f : 0.0f; }
  bool allow_force_backward(int index) const override { return index != 1; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().softmax_param().axis());
    middle_ = {in.count(0, axis), in[axis], in.count(axis + 1)};
    CAFFE_REQUIRE(bottom[1]->count() == middle_.outer * middle_.inner, "found ", bottom[1]->count(),
                  " labels (shape ", bottom[1]->shape().str(), ") for ",
                  middle_.outer * middle_.inner, " predictions (shape ", in.str(),
                  ", softmax over axis ", axis,
                  "); give one label for each prediction, a number from 0 to ", middle_.middle - 1);
    top[0]->reshape(Shape());
    probability_.reshape(in);
    if (top.size() > 1) top[1]->reshape(in);
    scratch_.reshape({middle_.outer, middle_.inner});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* label = bottom[1]->data_as<T>();
    valid_ = labels().check(*this, label, bottom[1]->count(), middle_.inner);
    T* p = probability_.overwrite_data<T>();
    softmax(middle_, bottom[0]->data_as<T>(), p, scratch_.overwrite_data<T>());
    const Labels rule = labels();
    const Middle m = middle_;
    const double total = parallel_sum<T>(bottom[1]->count(), [=](int64_t i) {
      if (rule.ignored(label[i])) return T{0};
      const int64_t at =
          (i / m.inner * m.middle + static_cast<int64_t>(label[i])) * m.inner + i % m.inner;
      return -std::log(std::max(p[at], static_cast<T>(FLT_MIN)));
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / normaliser());
    if (top.size() > 1) {
      T* copy = top[1]->overwrite_data<T>();
      for_each(probability_.count(), [=](int64_t i) { copy[i] = p[i]; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down[1], label(),
                  " has no gradient for labels; do not ask for one (propagate_down)");
    if (!propagate_down[0]) return;
    const T weight = static_cast<T>(top[0]->diff_as<T>()[0] / normaliser());
    const T* p = probability_.data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const Labels rule = labels();
    const Middle m = middle_;
    for_each_heavy(m.outer, [=](int64_t o) {
      const int64_t first = o * m.middle * m.inner;
      for (int64_t i = first; i < first + m.middle * m.inner; ++i) dx[i] = weight * p[i];
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
  Labels labels() const {
    const auto& p = param().loss_param();
    return Labels(middle_.middle,
                  p.has_ignore_label() ? std::optional<int>(p.ignore_label()) : std::nullopt);
  }

  // The older flag `normalize` counts only where `normalization` is not given. At least 1.
  double normaliser() const {
    const auto& p = param().loss_param();
    auto mode = p.normalization();
    if (!p.has_normalization() && p.has_normalize()) {
      mode = p.normalize() ? LossParameter::VALID : LossParameter::BATCH_SIZE;
    }
    int64_t n = 1;
    if (mode == LossParameter::FULL) n = middle_.outer * middle_.inner;
    if (mode == LossParameter::VALID) n = valid_;
    if (mode == LossParameter::BATCH_SIZE) n = middle_.outer;
    return static_cast<double>(std::max<int64_t>(n, 1));
  }

  Middle middle_;
  int64_t valid_ = 0;  // labels of this batch that are not ignored
  Blob probability_;
  Blob scratch_;
};

CAFFE_REGISTER_LAYER(SoftmaxWithLoss, SoftmaxWithLossLayer);

}  // namespace
}  // namespace caffe

#pragma once

#include <algorithm>
#include <optional>

#include "layers/labels.h"
#include "layers/layer.h"

namespace caffe {

// What losses have in common: predictions and labels as bottoms; a scalar top, created where the
// prototxt names none, of weight 1; no gradient for labels.
template <typename Self>
class LossLayer : public PortableLayer<Self> {
 public:
  using PortableLayer<Self>::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  int automatic_tops() const override { return 1; }
  float default_loss_weight(int index) const override { return index == 0 ? 1.0f : 0.0f; }
  bool allow_force_backward(int index) const override { return index != 1; }

 protected:
  void require_no_label_gradient(const std::vector<bool>& propagate_down) const {
    CAFFE_REQUIRE(!propagate_down[1], this->label(),
                  " has no gradient for labels; do not ask for one (propagate_down)");
  }
  // Predictions and labels have one first axis, the samples.
  void require_same_samples(const Blobs& bottom) const {
    const Shape& in = bottom[0]->shape();
    const Shape& labels = bottom[1]->shape();
    CAFFE_REQUIRE(in.axes() > 0 && labels.axes() > 0 && in[0] == labels[0], "found predictions ",
                  in.str(), " and labels ", labels.str(),
                  "; both must have the same first axis, the samples");
  }
  // One label per row of the predictions, which have `classes` values each.
  void require_labels(const Blobs& bottom, int64_t rows, int64_t classes) const {
    CAFFE_REQUIRE(bottom[1]->count() == rows, "found ", bottom[1]->count(), " labels (shape ",
                  bottom[1]->shape().str(), ") for ", rows, " predictions (shape ",
                  bottom[0]->shape().str(),
                  "); give one label for each prediction, a number from 0 to ", classes - 1);
    require_same_samples(bottom);
  }
  // What the loss is divided by, for `outer` x `inner` predictions of which `valid` count; at least
  // 1. `otherwise` is the loss's own rule where loss_param names none. The older flag `normalize`
  // counts only where `normalization` is not given.
  double normaliser(LossParameter::NormalizationMode otherwise, int64_t outer, int64_t inner,
                    int64_t valid) const {
    const auto& p = this->param().loss_param();
    auto mode = otherwise;
    if (p.has_normalization()) {
      mode = p.normalization();
    } else if (p.has_normalize()) {
      mode = p.normalize() ? LossParameter::VALID : LossParameter::BATCH_SIZE;
    }
    int64_t n = 1;
    if (mode == LossParameter::FULL) n = outer * inner;
    if (mode == LossParameter::VALID) n = valid;
    if (mode == LossParameter::BATCH_SIZE) n = outer;
    return static_cast<double>(std::max<int64_t>(n, 1));
  }
  Labels labels(int64_t classes) const {
    const auto& p = this->param().loss_param();
    return Labels(classes,
                  p.has_ignore_label() ? std::optional<int>(p.ignore_label()) : std::nullopt);
  }
};

// A loss over rows of one value per class, each with one label; none is ignored.
template <typename Self>
class ClassLossLayer : public LossLayer<Self> {
 public:
  using LossLayer<Self>::LossLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() > 0, "found predictions without axes; expected one row per sample");
    rows_ = in[0];
    classes_ = in.count(1);
    this->require_labels(bottom, rows_, classes_);
    top[0]->reshape(Shape());
  }

 protected:
  template <typename T>
  void check_labels(const T* labels) const {
    Labels(classes_, std::nullopt).check(*this, labels, rows_, 1);
  }

  int64_t rows_ = 1;
  int64_t classes_ = 1;
};

}  // namespace caffe

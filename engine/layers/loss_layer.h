#pragma once

#include <optional>

#include "layers/labels.h"
#include "layers/layer.h"
#include "layers/loss_normaliser.h"

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
  // One label per row of the predictions, which have `classes` values each.
  void require_labels(const Blobs& bottom, int64_t rows, int64_t classes) const {
    CAFFE_REQUIRE(bottom[1]->count() == rows, "found ", bottom[1]->count(), " labels (shape ",
                  bottom[1]->shape().str(), ") for ", rows, " predictions (shape ",
                  bottom[0]->shape().str(),
                  "); give one label for each prediction, a number from 0 to ", classes - 1);
  }
  Labels labels(int64_t classes) const {
    const auto& p = this->param().loss_param();
    return Labels(classes,
                  p.has_ignore_label() ? std::optional<int>(p.ignore_label()) : std::nullopt);
  }
};

}  // namespace caffe

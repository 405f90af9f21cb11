#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = 1 where x > threshold, else 0. Has no gradient.
class ThresholdLayer : public ElementwiseLayer<ThresholdLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool has_backward() const override { return false; }
  bool gradient_from_output() const override { return true; }

  template <typename T>
  auto value() const {
    const T threshold = param().threshold_param().threshold();
    return [=](T x) { return x > threshold ? T{1} : T{0}; };
  }

  template <typename T>
  auto gradient() const {
    return [](T, T) { return T{0}; };
  }
};

CAFFE_REGISTER_LAYER(Threshold, ThresholdLayer);

}  // namespace
}  // namespace caffe

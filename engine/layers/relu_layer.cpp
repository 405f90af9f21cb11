#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = x where x > 0, else negative_slope * x. At 0 the gradient is negative_slope's. The output has
// the input's sign, unless negative_slope is negative.
class ReLULayer : public ElementwiseLayer<ReLULayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return param().relu_param().negative_slope() >= 0; }

  template <typename T>
  auto value() const {
    const T slope = param().relu_param().negative_slope();
    return [=](T x) { return x > 0 ? x : slope * x; };
  }

  template <typename T>
  auto gradient() const {
    const T slope = param().relu_param().negative_slope();
    return [=](T v, T dy) { return v > 0 ? dy : slope * dy; };
  }
};

CAFFE_REGISTER_LAYER(ReLU, ReLULayer);

}  // namespace
}  // namespace caffe

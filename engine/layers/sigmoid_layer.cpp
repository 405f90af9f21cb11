#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = 1 / (1 + exp(-x)), written with tanh so that nothing overflows.
class SigmoidLayer : public ElementwiseLayer<SigmoidLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return true; }

  template <typename T>
  auto value() const {
    return [](T x) { return std::tanh(x / 2) / 2 + T{0.5}; };
  }

  template <typename T>
  auto gradient() const {
    return [](T y, T dy) { return dy * y * (1 - y); };
  }
};

CAFFE_REGISTER_LAYER(Sigmoid, SigmoidLayer);

}  // namespace
}  // namespace caffe

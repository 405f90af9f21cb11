#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = tanh(x).
class TanHLayer : public ElementwiseLayer<TanHLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return true; }

  template <typename T>
  auto value() const {
    return [](T x) { return std::tanh(x); };
  }

  template <typename T>
  auto gradient() const {
    return [](T y, T dy) { return dy * (1 - y * y); };
  }
};

CAFFE_REGISTER_LAYER(TanH, TanHLayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = |x|. The gradient at 0 is 0.
class AbsValLayer : public ElementwiseLayer<AbsValLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return false; }

  template <typename T>
  auto value() const {
    return [](T x) { return std::abs(x); };
  }

  template <typename T>
  auto gradient() const {
    return [](T x, T dy) { return static_cast<T>((x > 0) - (x < 0)) * dy; };
  }
};

CAFFE_REGISTER_LAYER(AbsVal, AbsValLayer);

}  // namespace
}  // namespace caffe

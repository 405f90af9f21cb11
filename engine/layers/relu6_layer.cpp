#include <algorithm>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = min(max(x, 0), 6), as in the forks for MobileNet. Without a gradient outside of (0, 6).
class ReLU6Layer : public ElementwiseLayer<ReLU6Layer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return true; }

  template <typename T>
  auto value() const {
    return [](T x) { return std::min(std::max(x, T{0}), T{6}); };
  }

  template <typename T>
  auto gradient() const {
    return [](T y, T dy) { return y > 0 && y < 6 ? dy : T{0}; };
  }
};

CAFFE_REGISTER_LAYER(ReLU6, ReLU6Layer);

}  // namespace
}  // namespace caffe

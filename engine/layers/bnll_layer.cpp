#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = log(1 + exp(x)), written so that nothing overflows.
class BNLLLayer : public ElementwiseLayer<BNLLLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return false; }

  template <typename T>
  auto value() const {
    return [](T x) { return (x > 0 ? x : T{0}) + std::log(1 + std::exp(-std::abs(x))); };
  }

  template <typename T>
  auto gradient() const {
    return [](T x, T dy) { return dy / (1 + std::exp(-x)); };
  }
};

CAFFE_REGISTER_LAYER(BNLL, BNLLLayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = x * sigmoid(beta * x) (Ramachandran et al. 2017).
class SwishLayer : public ElementwiseLayer<SwishLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return false; }

  template <typename T>
  auto value() const {
    const T beta = param().swish_param().beta();
    return [=](T x) { return x / (1 + std::exp(-beta * x)); };
  }

  template <typename T>
  auto gradient() const {
    const T beta = param().swish_param().beta();
    return [=](T x, T dy) {
      const T s = 1 / (1 + std::exp(-beta * x));
      return dy * (s + beta * x * s * (1 - s));
    };
  }
};

CAFFE_REGISTER_LAYER(Swish, SwishLayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2015). The output has the
// input's sign, unless alpha is negative.
class ELULayer : public ElementwiseLayer<ELULayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return param().elu_param().alpha() >= 0; }

  template <typename T>
  auto value() const {
    const T alpha = param().elu_param().alpha();
    return [=](T x) { return x > 0 ? x : alpha * std::expm1(x); };
  }

  template <typename T>
  auto gradient() const {
    const T alpha = param().elu_param().alpha();
    const bool from_output = gradient_from_output();
    return [=](T v, T dy) {
      return v > 0 ? dy : dy * (from_output ? v + alpha : alpha * std::exp(v));
    };
  }
};

CAFFE_REGISTER_LAYER(ELU, ELULayer);

}  // namespace
}  // namespace caffe

#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2015).
class ELULayer : public ElementwiseLayer<ELULayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  template <typename T>
  auto value() const {
    const T alpha = param().elu_param().alpha();
    return [=](T x) { return x > 0 ? x : alpha * std::expm1(x); };
  }

  template <typename T>
  auto gradient() const {
    const T alpha = param().elu_param().alpha();
    return [=](T x, T y, T dy) { return x > 0 ? dy : dy * (y + alpha); };
  }
};

CAFFE_REGISTER_LAYER(ELU, ELULayer);

}  // namespace
}  // namespace caffe

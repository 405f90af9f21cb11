#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = (shift + scale * x) ^ power.
class PowerLayer : public ElementwiseLayer<PowerLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  // A constant gradient needs nothing.
  bool gradient_from_output() const override {
    const auto& p = param().power_param();
    return p.power() == 1 || p.power() * p.scale() == 0;
  }

  template <typename T>
  auto value() const {
    const auto& p = param().power_param();
    const T power = p.power(), scale = p.scale(), shift = p.shift();
    const int whole = power == 0 ? 0 : power == 1 ? 1 : power == 2 ? 2 : -1;
    return [=](T x) {
      const T inner = scale * x + shift;
      return whole == 1   ? inner
             : whole == 2 ? inner * inner
             : whole == 0 ? T{1}
                          : std::pow(inner, power);
    };
  }

  template <typename T>
  auto gradient() const {
    const auto& p = param().power_param();
    const T power = p.power(), scale = p.scale(), shift = p.shift();
    const T factor = power * scale;
    return [=](T x, T dy) {
      if (factor == 0) return T{0};
      if (power == 1) return factor * dy;
      const T inner = scale * x + shift;
      return factor * dy * (power == 2 ? inner : std::pow(inner, power - 1));
    };
  }
};

CAFFE_REGISTER_LAYER(Power, PowerLayer);

}  // namespace
}  // namespace caffe

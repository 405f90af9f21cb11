#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = base ^ (shift + scale * x), base e where it is -1.
class ExpLayer : public ElementwiseLayer<ExpLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return true; }

  void set_up(const Blobs&, const Blobs&) override {
    const float base = param().exp_param().base();
    CAFFE_REQUIRE(base == -1 || base > 0, "found base ", base,
                  " in exp_param; it must be positive, or -1 for e");
  }

  template <typename T>
  auto value() const {
    const auto& p = param().exp_param();
    const T inner = static_cast<T>(exponent());
    const T outer = static_cast<T>(std::exp(log_base() * p.shift()));
    return [=](T x) { return outer * std::exp(inner * x); };
  }

  template <typename T>
  auto gradient() const {
    const T inner = static_cast<T>(exponent());
    return [=](T y, T dy) { return dy * y * inner; };
  }

 private:
  double log_base() const {
    const double base = param().exp_param().base();
    return base == -1 ? 1.0 : std::log(base);
  }
  double exponent() const { return log_base() * param().exp_param().scale(); }
};

CAFFE_REGISTER_LAYER(Exp, ExpLayer);

}  // namespace
}  // namespace caffe

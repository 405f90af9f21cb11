#include <cmath>

#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = log(shift + scale * x) to the given base, e where it is -1.
class LogLayer : public ElementwiseLayer<LogLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const float base = param().log_param().base();
    CAFFE_REQUIRE(base == -1 || (base > 0 && base != 1), "found base ", base,
                  " in log_param; it must be positive and not 1, or -1 for e");
  }

  template <typename T>
  auto value() const {
    const auto& p = param().log_param();
    const T factor = static_cast<T>(base_factor()), scale = p.scale(), shift = p.shift();
    return [=](T x) { return factor * std::log(scale * x + shift); };
  }

  template <typename T>
  auto gradient() const {
    const auto& p = param().log_param();
    const T factor = static_cast<T>(base_factor()), scale = p.scale(), shift = p.shift();
    return [=](T x, T dy) { return dy * factor * scale / (scale * x + shift); };
  }

 private:
  double base_factor() const {
    const double base = param().log_param().base();
    return base == -1 ? 1.0 : 1 / std::log(base);
  }
};

CAFFE_REGISTER_LAYER(Log, LogLayer);

}  // namespace
}  // namespace caffe

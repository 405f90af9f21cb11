#include "layers/elementwise.h"

namespace caffe {
namespace {

// y = x limited to [min, max]; the gradient passes within, bounds included.
class ClipLayer : public ElementwiseLayer<ClipLayer> {
 public:
  using ElementwiseLayer::ElementwiseLayer;

  bool gradient_from_output() const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& p = param().clip_param();
    CAFFE_REQUIRE(p.has_min() && p.has_max(), "clip_param needs both min and max");
    CAFFE_REQUIRE(p.min() <= p.max(), "found min ", p.min(), " above max ", p.max());
  }

  template <typename T>
  auto value() const {
    const T low = param().clip_param().min();
    const T high = param().clip_param().max();
    return [=](T x) { return x < low ? low : x > high ? high : x; };
  }

  template <typename T>
  auto gradient() const {
    const T low = param().clip_param().min();
    const T high = param().clip_param().max();
    return [=](T x, T dy) { return x >= low && x <= high ? dy : T{0}; };
  }
};

CAFFE_REGISTER_LAYER(Clip, ClipLayer);

}  // namespace
}  // namespace caffe

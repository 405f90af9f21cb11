#include "layers/layer.h"

namespace caffe {
namespace {

// Tops are set from outside. Their shapes come from the prototxt, or are set by hand afterwards.
class InputLayer : public PortableLayer<InputLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::at_least(1); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs&, const Blobs& top) override {
    const auto& shapes = param().input_param().shape();
    CAFFE_REQUIRE(
        shapes.empty() || shapes.size() == 1 || static_cast<size_t>(shapes.size()) == top.size(),
        "found ", shapes.size(), " shapes for ", top.size(),
        " tops in input_param; give none, one for all, or one for each");
    for (int i = 0; i < static_cast<int>(top.size()) && !shapes.empty(); ++i) {
      const auto& dims = shapes.Get(shapes.size() == 1 ? 0 : i).dim();
      for (const int64_t dim : dims) {
        CAFFE_REQUIRE(dim >= 0, "found extent ", dim, " in input_param, expected 0 or more");
      }
      top[static_cast<size_t>(i)]->reshape(Shape(std::vector<int64_t>(dims.begin(), dims.end())));
    }
  }
  void reshape(const Blobs&, const Blobs&) override {}

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}
};

CAFFE_REGISTER_LAYER(Input, InputLayer);

}  // namespace
}  // namespace caffe

#include "layers/layer.h"

namespace caffe {
namespace {

// A learned blob as a top, which shares its memory: what comes down as the top's gradient is the
// parameter's (with iter_size, as in Caffe, the last sub-batch's). It starts at zero.
class ParameterLayer : public PortableLayer<ParameterLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& shape = param().parameter_param().shape();
    add_parameter(Shape(std::vector<int64_t>(shape.dim().begin(), shape.dim().end())),
                  FillerParameter());
  }

  void reshape(const Blobs&, const Blobs& top) override {
    top[0]->reshape(blobs()[0]->shape());
    top[0]->share_data(*blobs()[0]);
    top[0]->share_diff(*blobs()[0]);
  }

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}
};

CAFFE_REGISTER_LAYER(Parameter, ParameterLayer);

}  // namespace
}  // namespace caffe

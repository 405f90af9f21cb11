#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// A learned blob as a top. It starts at zero.
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
  }

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>&, const Blobs&) {
    if (!learns(0)) return;
    const T* dy = top[0]->diff_as<T>();
    T* gradient = blobs()[0]->update_diff<T>();
    for_each(top[0]->count(), [=](int64_t i) { gradient[i] += dy[i]; });
  }
};

CAFFE_REGISTER_LAYER(Parameter, ParameterLayer);

}  // namespace
}  // namespace caffe

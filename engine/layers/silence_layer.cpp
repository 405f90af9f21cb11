#include "layers/layer.h"

namespace caffe {
namespace {

// Takes blobs that nobody else reads, so that they are not outputs of the net.
class SilenceLayer : public PortableLayer<SilenceLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::at_least(1); }
  Arity tops() const override { return Arity::exactly(0); }
  void reshape(const Blobs&, const Blobs&) override {}

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}

  template <typename T>
  void backward(const Blobs&, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (propagate_down[i]) bottom[i]->diff().set_zero();
    }
  }
};

CAFFE_REGISTER_LAYER(Silence, SilenceLayer);

}  // namespace
}  // namespace caffe

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// One blob for several readers: the tops share the bottom's data, their gradients are added. Nets
// insert it.
class SplitLayer : public PortableLayer<SplitLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity tops() const override { return Arity::at_least(1); }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    for (Blob* blob : top) {
      CAFFE_REQUIRE(blob != bottom[0], "cannot work in place; give its tops names of their own");
      blob->reshape(bottom[0]->shape());
      blob->share_data(*bottom[0]);
    }
  }

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const int64_t count = bottom[0]->count();
    bool first = true;
    for (const Blob* blob : top) {
      if (blob->diff().is_zero()) continue;  // a reader without a gradient
      const T* dy = blob->diff_as<T>();
      if (first) {
        T* dx = bottom[0]->overwrite_diff<T>();
        for_each(count, [=](int64_t i) { dx[i] = dy[i]; });
      } else {
        T* dx = bottom[0]->update_diff<T>();
        for_each(count, [=](int64_t i) { dx[i] += dy[i]; });
      }
      first = false;
    }
    if (first) bottom[0]->diff().set_zero();
  }
};

CAFFE_REGISTER_LAYER(Split, SplitLayer);

}  // namespace
}  // namespace caffe

#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Repeats the bottom `tiles` times along an axis.
class TileLayer : public PortableLayer<TileLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs&, const Blobs&) override {
    CAFFE_REQUIRE(param().tile_param().tiles() > 0, "found tiles ", param().tile_param().tiles(),
                  " in tile_param; it must be given and be positive");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().tile_param().axis());
    tiles_ = param().tile_param().tiles();
    outer_ = in.count(0, axis);
    block_ = in.count(axis);
    Shape out = in;
    out[axis] *= tiles_;
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const int64_t tiles = tiles_, block = block_;
    for_each_heavy(outer_ * tiles,
                   [=](int64_t i) { std::copy_n(x + i / tiles * block, block, y + i * block); });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const int64_t tiles = tiles_, block = block_;
    for_each_heavy(outer_, [=](int64_t o) {
      T* sum = dx + o * block;
      std::copy_n(dy + o * tiles * block, block, sum);
      for (int64_t t = 1; t < tiles; ++t) {
        const T* part = dy + (o * tiles + t) * block;
        for (int64_t i = 0; i < block; ++i) sum[i] += part[i];
      }
    });
  }

 private:
  int64_t tiles_ = 1;
  int64_t outer_ = 1;
  int64_t block_ = 1;  // elements that are repeated as one
};

CAFFE_REGISTER_LAYER(Tile, TileLayer);

}  // namespace
}  // namespace caffe

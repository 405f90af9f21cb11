#include <algorithm>
#include <vector>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Bilinear resizing with the corners' pixels on each other: the first and last pixel of an axis
// keep their values. The size is that of the second bottom, or, with one bottom, what the
// parameters say: in / shrink_factor, in zoom_factor (both count the gaps between pixels), or
// height and width. pad_beg and pad_end cut pixels off the bottom first. As in DeepLab v2
// (InterpParameter = 143 there, which is Caffe's InputParameter) and PSPNet (163).
class InterpLayer : public PortableLayer<InterpLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::between(1, 2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const InterpParameter& p = param().interp_param();
    CAFFE_REQUIRE(p.pad_beg() <= 0 && p.pad_end() <= 0, "found pad_beg ", p.pad_beg(),
                  " and pad_end ", p.pad_end(),
                  " in interp_param; both can only cut off pixels: give 0 or less");
    CAFFE_REQUIRE(p.interp_type() == "bilinear", "found interp_type \"", p.interp_type(),
                  "\" in interp_param; only \"bilinear\" is there");
    const bool sized = p.has_height() && p.has_width();
    if (bottom.size() == 2) {
      CAFFE_REQUIRE(
          !p.has_shrink_factor() && !p.has_zoom_factor() && !p.has_height() && !p.has_width(),
          "found a size in interp_param and a second bottom, which gives the size, too; "
          "remove one of them");
    } else {
      CAFFE_REQUIRE(p.has_shrink_factor() || p.has_zoom_factor() || sized,
                    "needs shrink_factor, zoom_factor, or height and width in interp_param, or a "
                    "second bottom of the size to reach");
    }
    CAFFE_REQUIRE(p.shrink_factor() > 0 && p.zoom_factor() > 0, "found shrink_factor ",
                  p.shrink_factor(), " and zoom_factor ", p.zoom_factor(),
                  " in interp_param; both must be positive");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() == 4, "found bottom ", in.str(), ", expected 4 axes");
    if (bottom.size() == 2) {
      CAFFE_REQUIRE(bottom[1]->shape().axes() == 4, "found second bottom ",
                    bottom[1]->shape().str(), ", expected 4 axes");
    }
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    Shape out = in;
    for (int i = 2; i < 4; ++i) {
      const int64_t cut = -param().interp_param().pad_beg() - param().interp_param().pad_end();
      const int64_t used = in[i] - cut;
      CAFFE_REQUIRE(used > 0, "pad_beg and pad_end cut all of axis ", i, " of bottom ", in.str());
      out[i] = bottom.size() == 2 ? bottom[1]->shape()[i] : extent(i, used);
      CAFFE_REQUIRE(out[i] > 0, "found size ", out[i], " for axis ", i,
                    " of its top; it must be positive");
      taps(used, -param().interp_param().pad_beg(), out[i], i == 2 ? &rows_ : &columns_);
    }
    planes_ = in.count(0, 2);
    in_plane_ = in.count(2);
    in_width_ = in[3];
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each_plane([=, this](int64_t plane) {
      const T* image = x + plane * in_plane_;
      T* out = y + plane * out_plane();
      for (const Tap& row : rows_) {
        const T* above = image + row.first * in_width_;
        const T* below = image + row.second * in_width_;
        for (const Tap& column : columns_) {
          const T upper = column.mix(above[column.first], above[column.second]);
          const T lower = column.mix(below[column.first], below[column.second]);
          *out++ = row.mix(upper, lower);
        }
      }
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (bottom.size() == 2 && propagate_down[1]) {
      std::fill_n(bottom[1]->overwrite_diff<T>(), bottom[1]->count(), T{0});
    }
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_plane([=, this](int64_t plane) {
      T* image = dx + plane * in_plane_;
      const T* out = dy + plane * out_plane();
      std::fill_n(image, in_plane_, T{0});
      for (const Tap& row : rows_) {
        T* above = image + row.first * in_width_;
        T* below = image + row.second * in_width_;
        for (const Tap& column : columns_) {
          const T lower = static_cast<T>(row.share) * *out;
          const T upper = *out++ - lower;
          const T share = static_cast<T>(column.share);
          above[column.first] += upper * (1 - share);
          above[column.second] += upper * share;
          below[column.first] += lower * (1 - share);
          below[column.second] += lower * share;
        }
      }
    });
  }

 private:
  // Two neighbours and the second one's share. In float, as the forks have it.
  struct Tap {
    int64_t first;
    int64_t second;
    float share;
    template <typename T>
    T mix(T a, T b) const {
      return (1 - static_cast<T>(share)) * a + static_cast<T>(share) * b;
    }
  };

  template <typename Work>
  void for_each_plane(const Work& work) const {
    for_each_heavy(planes_, work);
  }
  int64_t out_plane() const { return static_cast<int64_t>(rows_.size() * columns_.size()); }

  // What the parameters say, for axis 2 or 3 of which `used` pixels are used.
  int64_t extent(int axis, int64_t used) const {
    const InterpParameter& p = param().interp_param();
    if (!p.has_shrink_factor() && !p.has_zoom_factor()) return axis == 2 ? p.height() : p.width();
    const int64_t shrunk = (used - 1) / p.shrink_factor() + 1;
    return shrunk + (shrunk - 1) * (p.zoom_factor() - 1);
  }

  static void taps(int64_t in, int64_t begin, int64_t out, std::vector<Tap>* taps) {
    const float step = out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
    taps->clear();
    for (int64_t i = 0; i < out; ++i) {
      const float at = step * static_cast<float>(i);
      const int64_t first = std::min(static_cast<int64_t>(at), in - 1);
      taps->push_back(
          {begin + first, begin + std::min(first + 1, in - 1), at - static_cast<float>(first)});
    }
  }

  std::vector<Tap> rows_;
  std::vector<Tap> columns_;
  int64_t planes_ = 0;
  int64_t in_plane_ = 0;
  int64_t in_width_ = 0;
};

CAFFE_REGISTER_LAYER(Interp, InterpLayer);

}  // namespace
}  // namespace caffe

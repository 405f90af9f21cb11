#include <algorithm>

#include "kernels/for_each.h"
#include "layers/indices.h"

namespace caffe {
namespace {

// Two bottoms: SegNet's unpooling (alexgkendall/caffe-segnet, UpsampleParameter = 137 there, which
// is Caffe's EmbedParameter). Each pixel of bottom 0 goes to the place in its plane that bottom 1,
// the second top of a MAX Pooling, says; the rest is 0. As there, pixels that share a place all get
// its gradient. One bottom: every pixel is repeated scale x scale times, as in the forks that
// convert Darknet's nets (UpsampleParameter = 149).
class UpsampleLayer : public PortableLayer<UpsampleLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::between(1, 2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const UpsampleParameter& p = param().upsample_param();
    if (bottom.size() == 1) {
      CAFFE_REQUIRE(p.has_scale() && !p.has_scale_h() && !p.has_scale_w() && !p.has_upsample_h() &&
                        !p.has_upsample_w() && !p.pad_out_h() && !p.pad_out_w(),
                    "repeats pixels where it has one bottom: give scale alone in upsample_param; "
                    "or give the mask of a MAX Pooling as its second bottom");
    }
    CAFFE_REQUIRE(
        p.has_upsample_h() == p.has_upsample_w() && p.has_scale_h() == p.has_scale_w(),
        "found only one of a pair in upsample_param; give both upsample_h and upsample_w, "
        "or both scale_h and scale_w");
    scale_h_ = p.has_scale_h() ? p.scale_h() : p.scale();
    scale_w_ = p.has_scale_w() ? p.scale_w() : p.scale();
    CAFFE_REQUIRE(scale_h_ > 0 && scale_w_ > 0, "found scale ", scale_h_, " x ", scale_w_,
                  " in upsample_param; it must be positive");
    CAFFE_REQUIRE((!p.pad_out_h() || scale_h_ == 2) && (!p.pad_out_w() || scale_w_ == 2),
                  "found pad_out_h or pad_out_w with scale ", scale_h_, " x ", scale_w_,
                  " in upsample_param; they need scale 2");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const UpsampleParameter& p = param().upsample_param();
    in_ = bottom[0]->shape();
    CAFFE_REQUIRE(in_.axes() == 4, "found bottom ", in_.str(), ", expected 4 axes");
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    out_ = in_;
    if (p.has_upsample_h()) {
      out_[2] = p.upsample_h();
      out_[3] = p.upsample_w();
    } else {
      out_[2] = in_[2] * scale_h_ - (p.pad_out_h() ? 1 : 0);
      out_[3] = in_[3] * scale_w_ - (p.pad_out_w() ? 1 : 0);
    }
    if (bottom.size() == 2) {
      CAFFE_REQUIRE(bottom[1]->shape() == in_, "found a mask of shape ", bottom[1]->shape().str(),
                    " for bottom ", in_.str(), "; both must have the same shape");
    }
    top[0]->reshape(out_);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    if (bottom.size() == 2) {
      check_mask(bottom[1]->data_as<T>());
      std::fill_n(y, out_.count(), T{0});
    }
    for_each_pair<T>(bottom, [=](int64_t in, int64_t out) { y[out] = x[in]; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (bottom.size() == 2 && propagate_down[1]) {
      std::fill_n(bottom[1]->overwrite_diff<T>(), bottom[1]->count(), T{0});
    }
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, in_.count(), T{0});
    for_each_pair<T>(bottom, [=](int64_t in, int64_t out) { dx[in] += dy[out]; });
  }

 private:
  template <typename T>
  void check_mask(const T* mask) const {
    const int64_t places = out_.count(2);
    for (int64_t i = 0; i < in_.count(); ++i) checked_index(*this, mask[i], places, i);
  }

  // work(pixel of the bottom, pixel of the top) for each place that a pixel goes to; planes run
  // side by side.
  template <typename T, typename Work>
  void for_each_pair(const Blobs& bottom, const Work& work) const {
    const T* mask = bottom.size() == 2 ? bottom[1]->data_as<T>() : nullptr;
    const int64_t in_plane = in_.count(2), out_plane = out_.count(2);
    const int64_t height = out_[2], width = out_[3], in_width = in_[3];
    const int64_t scale_h = scale_h_, scale_w = scale_w_;
    for_each_heavy(in_.count(0, 2), [=](int64_t plane) {
      const int64_t in = plane * in_plane, out = plane * out_plane;
      if (mask != nullptr) {
        for (int64_t i = 0; i < in_plane; ++i)
          work(in + i, out + static_cast<int64_t>(mask[in + i]));
        return;
      }
      for (int64_t h = 0; h < height; ++h) {
        for (int64_t w = 0; w < width; ++w) {
          work(in + h / scale_h * in_width + w / scale_w, out + h * width + w);
        }
      }
    });
  }

  Shape in_;
  Shape out_;
  int64_t scale_h_ = 1;
  int64_t scale_w_ = 1;
};

CAFFE_REGISTER_LAYER(Upsample, UpsampleLayer);

}  // namespace
}  // namespace caffe

#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Cuts bottom 0 to the extents of bottom 1 in every axis from `axis` on, starting at `offset` (one
// for all these axes, one for each, or none for 0). Bottom 1 is looked at for its shape alone.
class CropLayer : public PortableLayer<CropLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().crop_param();
    in_ = bottom[0]->shape();
    const Shape& reference = bottom[1]->shape();
    const int axis = in_.canonical_axis(p.axis());
    const int cropped = in_.axes() - axis;
    CAFFE_REQUIRE(p.offset_size() <= 1 || p.offset_size() == cropped, "found ", p.offset_size(),
                  " offsets in crop_param; give none, one, or one for each of the ", cropped,
                  " axes from axis ", axis, " on");
    CAFFE_REQUIRE(reference.axes() >= in_.axes(), "found bottoms ", in_.str(), " and ",
                  reference.str(), "; the second must have as many axes as the first");
    out_ = in_;
    offset_.assign(static_cast<size_t>(in_.axes()), 0);
    for (int i = axis; i < in_.axes(); ++i) {
      int64_t& offset = offset_[static_cast<size_t>(i)];
      if (p.offset_size() > 0) offset = p.offset(p.offset_size() == 1 ? 0 : i - axis);
      out_[i] = reference[i];
      CAFFE_REQUIRE(offset + out_[i] <= in_[i], "the crop [", offset, ", ", offset + out_[i],
                    ") does not fit into axis ", i, " of bottom ", in_.str());
    }
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    top[0]->reshape(out_);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each_row([=](int64_t in, int64_t out, int64_t n) { std::copy_n(x + in, n, y + out); });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (propagate_down[1]) {
      std::fill_n(bottom[1]->overwrite_diff<T>(), bottom[1]->count(), T{0});
    }
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, bottom[0]->count(), T{0});
    for_each_row([=](int64_t in, int64_t out, int64_t n) { std::copy_n(dy + out, n, dx + in); });
  }

 private:
  // work(start in the bottom, start in the top, elements) for every row along the last axis.
  template <typename Work>
  void for_each_row(const Work& work) const {
    const int last = in_.axes() - 1;
    const int64_t n = out_[last];
    if (n == 0) return;
    for_each_heavy(out_.count() / n, [&](int64_t row) {
      int64_t rest = row;
      int64_t start = offset_[static_cast<size_t>(last)];
      int64_t stride = in_[last];
      for (int i = last - 1; i >= 0; --i) {
        start += (rest % out_[i] + offset_[static_cast<size_t>(i)]) * stride;
        rest /= out_[i];
        stride *= in_[i];
      }
      work(start, row * n, n);
    });
  }

  Shape in_;
  Shape out_;
  std::vector<int64_t> offset_;  // per axis
};

CAFFE_REGISTER_LAYER(Crop, CropLayer);

}  // namespace
}  // namespace caffe

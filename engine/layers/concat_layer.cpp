#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// The bottoms one after another along an axis. A single bottom shares its memory with the top.
class ConcatLayer : public PortableLayer<ConcatLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::at_least(1); }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& p = param().concat_param();
    CAFFE_REQUIRE(!(p.has_axis() && p.has_concat_dim()),
                  "found both axis and concat_dim in concat_param; give axis alone");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().concat_param();
    Shape out = bottom[0]->shape();
    CAFFE_REQUIRE(!p.has_concat_dim() || p.concat_dim() < static_cast<uint32_t>(out.axes()),
                  "concat_dim ", p.concat_dim(), " is out of range for the ", out.axes(),
                  "-D bottom ", out.str());
    const int axis =
        out.canonical_axis(p.has_concat_dim() ? static_cast<int>(p.concat_dim()) : p.axis());
    for (size_t i = 1; i < bottom.size(); ++i) {
      const Shape& in = bottom[i]->shape();
      bool fits = in.axes() == out.axes();
      for (int a = 0; fits && a < in.axes(); ++a) fits = a == axis || in[a] == out[a];
      CAFFE_REQUIRE(fits, "bottom ", i, " has shape ", in.str(), ", bottom 0 ",
                    bottom[0]->shape().str(), "; they must agree in all axes but ", axis);
      out[axis] += in[axis];
    }
    for (const Blob* blob : bottom) {
      CAFFE_REQUIRE(blob != top[0], "cannot work in place; give its top a name of its own");
    }
    top[0]->reshape(out);
    if (bottom.size() == 1) {
      top[0]->share_data(*bottom[0]);
      top[0]->share_diff(*bottom[0]);
    }
    outer_ = out.count(0, axis);
    row_ = out.count(axis);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    if (bottom.size() == 1) return;
    T* y = top[0]->overwrite_data<T>();
    int64_t offset = 0;
    for (const Blob* blob : bottom) {
      const T* x = blob->data_as<T>();
      const int64_t n = blob->count() / std::max<int64_t>(outer_, 1);
      const int64_t row = row_;
      for_each_heavy(outer_, [=](int64_t o) { std::copy_n(x + o * n, n, y + o * row + offset); });
      offset += n;
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (bottom.size() == 1) return;
    const T* dy = top[0]->diff_as<T>();
    int64_t offset = 0;
    for (size_t i = 0; i < bottom.size(); ++i) {
      const int64_t n = bottom[i]->count() / std::max<int64_t>(outer_, 1);
      if (propagate_down[i]) {
        T* dx = bottom[i]->overwrite_diff<T>();
        const int64_t row = row_;
        for_each_heavy(outer_,
                       [=](int64_t o) { std::copy_n(dy + o * row + offset, n, dx + o * n); });
      }
      offset += n;
    }
  }

 private:
  int64_t outer_ = 1;
  int64_t row_ = 1;  // elements of the top per index of `outer_`
};

CAFFE_REGISTER_LAYER(Concat, ConcatLayer);

}  // namespace
}  // namespace caffe

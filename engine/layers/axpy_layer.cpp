#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Bottoms a (N x C or N x C x 1 x 1), x and y (N x C x ...): a x + y, a being one factor per plane.
// SENet's fork; it has no parameters.
class AxpyLayer : public PortableLayer<AxpyLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(3); }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& a = bottom[0]->shape();
    const Shape& x = bottom[1]->shape();
    CAFFE_REQUIRE(x.axes() >= 2 && bottom[2]->shape() == x, "found bottoms x ", x.str(), " and y ",
                  bottom[2]->shape().str(), "; both must have the same shape of at least 2 axes");
    CAFFE_REQUIRE(a.axes() >= 2 && a[0] == x[0] && a[1] == x[1] && a.count(2) == 1,
                  "found factors of shape ", a.str(), " for ", x.str(), "; expected ", x[0], " ",
                  x[1], ", one for each plane");
    CAFFE_REQUIRE(top[0] != bottom[0] && top[0] != bottom[1] && top[0] != bottom[2],
                  "cannot work in place; give its top a name of its own");
    planes_ = a.count();
    inner_ = x.count(2);
    top[0]->reshape(x);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* a = bottom[0]->data_as<T>();
    const T* x = bottom[1]->data_as<T>();
    const T* y = bottom[2]->data_as<T>();
    T* out = top[0]->overwrite_data<T>();
    const int64_t inner = inner_;
    for_each_heavy(planes_, [=](int64_t p) {
      for (int64_t i = p * inner; i < (p + 1) * inner; ++i) out[i] = a[p] * x[i] + y[i];
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* dout = top[0]->diff_as<T>();
    const int64_t inner = inner_;
    if (propagate_down[0]) {
      const T* x = bottom[1]->data_as<T>();
      T* da = bottom[0]->overwrite_diff<T>();
      for_each_heavy(planes_, [=](int64_t p) {
        double total = 0;
        for (int64_t i = p * inner; i < (p + 1) * inner; ++i) total += dout[i] * x[i];
        da[p] = static_cast<T>(total);
      });
    }
    if (propagate_down[1]) {
      const T* a = bottom[0]->data_as<T>();
      T* dx = bottom[1]->overwrite_diff<T>();
      for_each_heavy(planes_, [=](int64_t p) {
        for (int64_t i = p * inner; i < (p + 1) * inner; ++i) dx[i] = a[p] * dout[i];
      });
    }
    if (propagate_down[2]) std::copy_n(dout, planes_ * inner, bottom[2]->overwrite_diff<T>());
  }

 private:
  int64_t planes_ = 0;
  int64_t inner_ = 0;
};

CAFFE_REGISTER_LAYER(Axpy, AxpyLayer);

}  // namespace
}  // namespace caffe

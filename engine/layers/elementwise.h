#pragma once

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {

// A layer each of whose outputs depends on the one input at the same place. Self gives
//   template <typename T> auto value() const;     a function y(x)
//   template <typename T> auto gradient() const;  a function dx(x, y, dy)
// In place, x is no longer there for backward and y takes its place: right for those that read y
// alone, or only the sign of an x that y shares, as in Caffe.
template <typename Self>
class ElementwiseLayer : public PortableLayer<Self> {
 public:
  using PortableLayer<Self>::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    if (top[0] != bottom[0]) top[0]->reshape(bottom[0]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const auto value = self().template value<T>();
    const T* x = bottom[0]->template data_as<T>();
    T* y = top[0]->template overwrite_data<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { y[i] = value(x[i]); });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const auto gradient = self().template gradient<T>();
    const T* x = bottom[0]->template data_as<T>();
    const T* y = top[0]->template data_as<T>();
    const T* dy = top[0]->template diff_as<T>();
    T* dx = bottom[0]->template overwrite_diff<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { dx[i] = gradient(x[i], y[i], dy[i]); });
  }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

}  // namespace caffe

#pragma once

#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {

// The maths of a layer each of whose outputs depends on the one input at the same place, on arrays
// in any order: for implementations that keep the layout in which the bottom comes.
class ElementwiseMap {
 public:
  virtual ~ElementwiseMap() = default;
  virtual void map(int64_t n, const float* x, float* y) const = 0;
  // v: y where the gradient is computed from the output, else x.
  virtual void map_gradient(int64_t n, const float* v, const float* dy, float* dx) const = 0;
  virtual bool gradient_from_output() const = 0;
};

// Such a layer. Self gives
//   template <typename T> auto value() const;      a function y(x)
//   template <typename T> auto gradient() const;   a function dx(v, dy)
//   bool gradient_from_output() const              v is y if true, else x
// Backward reads v and nothing else. Where that is x and the layer works in place, forward keeps a
// copy.
template <typename Self>
class ElementwiseLayer : public PortableLayer<Self>, public ElementwiseMap {
 public:
  using PortableLayer<Self>::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    if (top[0] != bottom[0]) top[0]->reshape(bottom[0]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const int64_t count = bottom[0]->count();
    const T* x = bottom[0]->template data_as<T>();
    if (keeps_input(bottom, top))
      std::copy_n(x, count, static_cast<T*>(this->kept_input(count).write()));
    apply(count, x, top[0]->template overwrite_data<T>());
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const int64_t count = bottom[0]->count();
    Buffer& v = keeps_input(bottom, top) ? this->kept_input(count)
                : gradient_from_output() ? top[0]->data()
                                         : bottom[0]->data();
    const T* dy = top[0]->template diff_as<T>();
    apply_gradient(count, static_cast<const T*>(v.read()), dy,
                   bottom[0]->template overwrite_diff<T>());
  }

  void map(int64_t n, const float* x, float* y) const override { apply(n, x, y); }
  void map_gradient(int64_t n, const float* v, const float* dy, float* dx) const override {
    apply_gradient(n, v, dy, dx);
  }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
  bool keeps_input(const Blobs& bottom, const Blobs& top) const {
    return top[0] == bottom[0] && self().has_backward() && !gradient_from_output();
  }

  template <typename T>
  void apply(int64_t n, const T* x, T* y) const {
    const auto value = self().template value<T>();
    for_each(n, [=](int64_t i) { y[i] = value(x[i]); });
  }
  template <typename T>
  void apply_gradient(int64_t n, const T* v, const T* dy, T* dx) const {
    const auto gradient = self().template gradient<T>();
    for_each(n, [=](int64_t i) { dx[i] = gradient(v[i], dy[i]); });
  }
};

}  // namespace caffe

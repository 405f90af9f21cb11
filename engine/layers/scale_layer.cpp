#include "layers/broadcast.h"

namespace caffe {
namespace {

// y = x * f (+ b), f learned or the second bottom, repeated along the axes it lacks. b is always
// learned.
class ScaleLayer : public PortableLayer<ScaleLayer> {
 public:
  ScaleLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), input_(context.dtype) {}

  Arity bottoms() const override { return Arity::between(1, 2); }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = param().scale_param();
    Shape shape;
    if (bottom.size() == 1) {
      shape = broadcast_parameter_shape(bottom[0]->shape(), p.axis(), p.num_axes());
      FillerParameter one;
      one.set_value(1);
      add_parameter(shape, p.has_filler() ? p.filler() : one);
    } else {
      shape = bottom[1]->shape();
    }
    if (p.bias_term()) add_parameter(shape, p.bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    middle_ = broadcast(bottom[0]->shape(), factor(bottom).shape(), param().scale_param().axis());
    if (top[0] != bottom[0]) {
      top[0]->reshape(bottom[0]->shape());
    } else {
      input_.reshape(bottom[0]->shape());
    }
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* f = factor(bottom).data_as<T>();
    const T* x = bottom[0]->data_as<T>();
    if (top[0] == bottom[0] && (bottom.size() > 1 || learns(0))) {  // the factor's gradient needs x
      T* copy = input_.overwrite_data<T>();
      for_each(input_.count(), [=](int64_t i) { copy[i] = x[i]; });
    }
    T* y = top[0]->overwrite_data<T>();
    if (param().scale_param().bias_term()) {
      const T* b = blobs().back()->data_as<T>();
      for_each_with_middle(middle_, [=](int64_t i, int64_t c) { y[i] = x[i] * f[c] + b[c]; });
    } else {
      for_each_with_middle(middle_, [=](int64_t i, int64_t c) { y[i] = x[i] * f[c]; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* dy = top[0]->diff_as<T>();
    const int bias = static_cast<int>(blobs().size()) - 1;
    if (param().scale_param().bias_term() && learns(bias)) {
      T* db = blobs().back()->update_diff<T>();
      sum_over_middle<T>(
          middle_, [=](int64_t i, int64_t) { return dy[i]; },
          [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
    }
    if (bottom.size() == 1 ? learns(0) : propagate_down[1]) {
      const T* x = (top[0] == bottom[0] ? input_ : *bottom[0]).template data_as<T>();
      const auto term = [=](int64_t i, int64_t) { return dy[i] * x[i]; };
      if (bottom.size() == 1) {
        T* df = blobs()[0]->update_diff<T>();
        const bool overwrite = factor_gradient_overwrites(middle_);
        sum_over_middle<T>(middle_, term, [=](int64_t c, double total) {
          df[c] = (overwrite ? T{0} : df[c]) + static_cast<T>(total);
        });
      } else {
        T* df = bottom[1]->overwrite_diff<T>();
        sum_over_middle<T>(middle_, term,
                           [=](int64_t c, double total) { df[c] = static_cast<T>(total); });
      }
    }
    if (!propagate_down[0]) return;
    const T* f = factor(bottom).data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_with_middle(middle_, [=](int64_t i, int64_t c) { dx[i] = dy[i] * f[c]; });
  }

 private:
  const Blob& factor(const Blobs& bottom) const {
    return bottom.size() > 1 ? *bottom[1] : *blobs()[0];
  }

  Middle middle_;
  Blob input_;  // x, where it is overwritten by y
};

CAFFE_REGISTER_LAYER(Scale, ScaleLayer);

}  // namespace
}  // namespace caffe

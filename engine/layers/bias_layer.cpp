#include "layers/broadcast.h"

namespace caffe {
namespace {

// y = x + b, b learned or the second bottom, repeated along the axes it lacks.
class BiasLayer : public PortableLayer<BiasLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::between(1, 2); }

  void set_up(const Blobs& bottom, const Blobs&) override {
    if (bottom.size() > 1) return;
    const auto& p = param().bias_param();
    add_parameter(broadcast_parameter_shape(bottom[0]->shape(), p.axis(), p.num_axes()),
                  p.filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    middle_ = broadcast(bottom[0]->shape(), bias(bottom).shape(), param().bias_param().axis());
    if (top[0] != bottom[0]) top[0]->reshape(bottom[0]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* b = bias(bottom).data_as<T>();
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each_with_middle(middle_, [=](int64_t i, int64_t c) { y[i] = x[i] + b[c]; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* dy = top[0]->diff_as<T>();
    const auto term = [=](int64_t i, int64_t) { return dy[i]; };
    if (bottom.size() == 1 && learns(0)) {
      T* db = blobs()[0]->update_diff<T>();
      sum_over_middle<T>(middle_, term,
                         [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
    }
    if (bottom.size() > 1 && propagate_down[1]) {
      T* db = bottom[1]->overwrite_diff<T>();
      sum_over_middle<T>(middle_, term,
                         [=](int64_t c, double total) { db[c] = static_cast<T>(total); });
    }
    if (propagate_down[0] && top[0] != bottom[0]) {
      T* dx = bottom[0]->overwrite_diff<T>();
      for_each(bottom[0]->count(), [=](int64_t i) { dx[i] = dy[i]; });
    }
  }

 private:
  const Blob& bias(const Blobs& bottom) const {
    return bottom.size() > 1 ? *bottom[1] : *blobs()[0];
  }

  Middle middle_;
};

CAFFE_REGISTER_LAYER(Bias, BiasLayer);

}  // namespace
}  // namespace caffe

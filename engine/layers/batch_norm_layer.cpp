#include <cmath>

#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = (x - mean) / sqrt(var + eps) per channel (axis 1). Statistics of the batch in training, else
// of the running sums in the three blobs: sum of means, sum of variances, and the factor both are
// divided by. Ioffe & Szegedy, "Batch Normalization", 2015.
class BatchNormLayer : public PortableLayer<BatchNormLayer> {
 public:
  BatchNormLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context),
        mean_(context.dtype),
        inverse_std_(context.dtype),
        normalised_(context.dtype) {}

  bool always_propagates(int) const override { return true; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() >= 1, "needs a bottom with axes, found a scalar");
    channels_ = in.axes() == 1 ? 1 : in[1];
    const FillerParameter zero;
    add_parameter({channels_}, zero);
    add_parameter({channels_}, zero);
    add_parameter({1}, zero);
    LayerParameter& p = mutable_param();
    for (int i = 0; i < 3; ++i) {
      if (i == p.param_size()) p.add_param()->set_lr_mult(0);
      CAFFE_REQUIRE(
          p.param(i).lr_mult() == 0, "found lr_mult ", p.param(i).lr_mult(), " in param ", i,
          "; the blobs are statistics, which are not learned: use lr_mult 0 or leave param out");
    }
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int64_t channels = in.axes() <= 1 ? 1 : in[1];
    CAFFE_REQUIRE(channels == channels_, "found ", channels, " channels in the bottom ", in.str(),
                  ", expected ", channels_, " as at the start");
    middle_ = {in.axes() == 1 ? 1 : in[0], channels_, in.axes() == 1 ? in[0] : in.count(2)};
    mean_.reshape({channels_});
    inverse_std_.reshape({channels_});
    if (top[0] != bottom[0]) {
      top[0]->reshape(in);
    } else if (!use_global_stats()) {
      normalised_.reshape(in);
    }
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    if (use_global_stats()) {
      read_running<T>();
    } else {
      measure<T>(bottom[0]->data_as<T>());
    }
    const T* mean = mean_.data_as<T>();
    const T* inverse_std = inverse_std_.data_as<T>();
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    if (top[0] == bottom[0] && !use_global_stats()) {  // layers after it may overwrite y too
      T* copy = normalised_.overwrite_data<T>();
      for_each_with_middle(middle_, [=](int64_t i, int64_t c) {
        copy[i] = (x[i] - mean[c]) * inverse_std[c];
        y[i] = copy[i];
      });
    } else {
      for_each_with_middle(middle_,
                           [=](int64_t i, int64_t c) { y[i] = (x[i] - mean[c]) * inverse_std[c]; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    const T* inverse_std = inverse_std_.data_as<T>();
    if (use_global_stats()) {
      T* dx = bottom[0]->overwrite_diff<T>();
      for_each_with_middle(middle_, [=](int64_t i, int64_t c) { dx[i] = dy[i] * inverse_std[c]; });
      return;
    }
    if (top[0] == bottom[0]) {
      const T* n = normalised_.data_as<T>();
      backward_batch<T>(dy, bottom, [=](int64_t i, int64_t) { return n[i]; });
    } else {
      const T* x = bottom[0]->data_as<T>();
      const T* mean = mean_.data_as<T>();
      backward_batch<T>(dy, bottom,
                        [=](int64_t i, int64_t c) { return (x[i] - mean[c]) * inverse_std[c]; });
    }
  }

 private:
  bool use_global_stats() const {
    const auto& p = param().batch_norm_param();
    return p.has_use_global_stats() ? p.use_global_stats() : !training();
  }

  template <typename T>
  void read_running() {
    const T factor = blobs()[2]->data_as<T>()[0];
    const T scale = factor == 0 ? T{0} : 1 / factor;
    const T* mean_sum = blobs()[0]->data_as<T>();
    const T* var_sum = blobs()[1]->data_as<T>();
    T* mean = mean_.overwrite_data<T>();
    T* inverse_std = inverse_std_.overwrite_data<T>();
    const T eps = param().batch_norm_param().eps();
    for_each(channels_, [=](int64_t c) {
      mean[c] = mean_sum[c] * scale;
      inverse_std[c] = 1 / std::sqrt(var_sum[c] * scale + eps);
    });
  }

  // Statistics of this batch, which are also added to the running sums.
  template <typename T>
  void measure(const T* x) {
    const int64_t per_channel = middle_.outer * middle_.inner;
    const auto n = static_cast<double>(per_channel);
    const bool adds = !context().repeating;
    const T fraction = param().batch_norm_param().moving_average_fraction();
    const T eps = param().batch_norm_param().eps();
    const T correction = static_cast<T>(per_channel > 1 ? n / (n - 1) : 1.0);
    T* mean = mean_.overwrite_data<T>();
    T* inverse_std = inverse_std_.overwrite_data<T>();
    T* mean_sum = blobs()[0]->update_data<T>();
    T* var_sum = blobs()[1]->update_data<T>();
    T* factor = blobs()[2]->update_data<T>();
    sum_over_middle<T>(
        middle_, [=](int64_t i, int64_t) { return x[i]; },
        [=](int64_t c, double total) { mean[c] = static_cast<T>(total / n); });
    sum_over_middle<T>(
        middle_, [=](int64_t i, int64_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); },
        [=](int64_t c, double total) {
          const T var = static_cast<T>(total / n);
          inverse_std[c] = 1 / std::sqrt(var + eps);
          if (!adds) return;
          mean_sum[c] = fraction * mean_sum[c] + mean[c];
          var_sum[c] = fraction * var_sum[c] + correction * var;
        });
    if (adds) factor[0] = fraction * factor[0] + 1;
  }

  // dx = (dy - mean(dy) - mean(dy * y) * y) / std, y(index, channel) being the normalised input.
  template <typename T, typename Normalised>
  void backward_batch(const T* dy, const Blobs& bottom, const Normalised& y) {
    const double n = static_cast<double>(middle_.outer * middle_.inner);
    const T* inverse_std = inverse_std_.data_as<T>();
    T* mean_dy = mean_.overwrite_diff<T>();
    T* mean_dy_y = inverse_std_.overwrite_diff<T>();
    sum_over_middle<T>(
        middle_, [=](int64_t i, int64_t) { return dy[i]; },
        [=](int64_t c, double total) { mean_dy[c] = static_cast<T>(total / n); });
    sum_over_middle<T>(
        middle_, [=](int64_t i, int64_t c) { return dy[i] * y(i, c); },
        [=](int64_t c, double total) { mean_dy_y[c] = static_cast<T>(total / n); });
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_with_middle(middle_, [=](int64_t i, int64_t c) {
      dx[i] = (dy[i] - mean_dy[c] - mean_dy_y[c] * y(i, c)) * inverse_std[c];
    });
  }

  int64_t channels_ = 0;
  Middle middle_;
  Blob mean_;
  Blob inverse_std_;
  Blob normalised_;  // in place, in training: y before other layers change it
};

CAFFE_REGISTER_LAYER(BatchNorm, BatchNormLayer);

}  // namespace
}  // namespace caffe

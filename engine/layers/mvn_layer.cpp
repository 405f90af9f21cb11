#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Subtracts the mean of each channel of each sample (across_channels: of each sample) and, with
// normalize_variance, divides by its standard deviation + eps.
class MVNLayer : public PortableLayer<MVNLayer> {
 public:
  MVNLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), deviation_(context.dtype) {}

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axes = param().mvn_param().across_channels() ? 1 : 2;
    CAFFE_REQUIRE(in.axes() >= 1, "found a bottom without axes, expected samples x channels x ...");
    rows_ = in.count(0, std::min(axes, in.axes()));
    row_ = in.count(std::min(axes, in.axes()));
    deviation_.reshape({rows_});
    if (top[0] != bottom[0]) top[0]->reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    T* deviation = deviation_.overwrite_data<T>();
    const int64_t n = row_;
    const bool normalize = param().mvn_param().normalize_variance();
    const double eps = param().mvn_param().eps();
    for_each_heavy(rows_, [=](int64_t r) {
      const T* in = x + r * n;
      T* out = y + r * n;
      const T mean =
          static_cast<T>(sum<T>(n, [=](int64_t i) { return in[i]; }) / static_cast<double>(n));
      for (int64_t i = 0; i < n; ++i) out[i] = in[i] - mean;
      deviation[r] = 1;
      if (!normalize) return;
      const double squares = sum<T>(n, [=](int64_t i) { return out[i] * out[i]; });
      deviation[r] = static_cast<T>(std::sqrt(squares / static_cast<double>(n)) + eps);
      for (int64_t i = 0; i < n; ++i) out[i] /= deviation[r];
    });
  }

  // With y normalised: dx = (dy - mean(dy) - y mean(y dy)) / deviation.
  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const T* deviation = deviation_.data_as<T>();
    const int64_t n = row_;
    const bool normalize = param().mvn_param().normalize_variance();
    for_each_heavy(rows_, [=](int64_t r) {
      const T* value = y + r * n;
      const T* in = dy + r * n;
      T* out = dx + r * n;
      const auto extent = static_cast<double>(n);
      const T mean = static_cast<T>(sum<T>(n, [=](int64_t i) { return in[i]; }) / extent);
      T along = 0;
      if (normalize) {
        along = static_cast<T>(sum<T>(n, [=](int64_t i) { return value[i] * in[i]; }) / extent);
      }
      for (int64_t i = 0; i < n; ++i) {
        out[i] = (in[i] - mean - along * value[i]) / deviation[r];
      }
    });
  }

 private:
  int64_t rows_ = 1;
  int64_t row_ = 1;  // elements that share a mean
  Blob deviation_;   // what forward divided each row by
};

CAFFE_REGISTER_LAYER(MVN, MVNLayer);

}  // namespace
}  // namespace caffe

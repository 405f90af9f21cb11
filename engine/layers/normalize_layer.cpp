#include <cmath>

#include "kernels/for_each.h"
#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = f x / sqrt(sum of squares + eps). The sum goes over the channels at each position or, with
// across_spatial (the default), over the whole sample; f is learned, one number or one for each
// channel. As in the SSD fork (weiliu89/caffe, NormalizeParameter = 206).
class NormalizeLayer : public PortableLayer<NormalizeLayer> {
 public:
  NormalizeLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), norm_(context.dtype) {}

  void set_up(const Blobs& bottom, const Blobs&) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() >= 2, "found bottom ", in.str(), ", expected at least 2 axes");
    FillerParameter one;
    one.set_value(1);
    const NormalizeParameter& p = param().norm_param();
    add_parameter(p.channel_shared() ? Shape() : Shape{in[1]},
                  p.has_scale_filler() ? p.scale_filler() : one);
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() >= 2 && (shared() || in[1] == blobs()[0]->count()), "found bottom ",
                  in.str(), ", expected ", blobs()[0]->count(),
                  " channels, for which the factors were made");
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    samples_ = in[0];
    channels_ = in[1];
    positions_ = in.count(2);
    norm_.reshape({samples_, across_spatial() ? 1 : positions_});
    top[0]->reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    T* norm = norm_.overwrite_data<T>();
    const Factor<T> f = factor<T>();
    const double eps = param().norm_param().eps();
    const int64_t channels = channels_, positions = positions_, n = channels * positions;
    if (across_spatial()) {
      for_each_heavy(samples_, [=](int64_t s) {
        const T* in = x + s * n;
        norm[s] =
            static_cast<T>(std::sqrt(sum<T>(n, [=](int64_t i) { return in[i] * in[i]; }) + eps));
        for (int64_t i = 0; i < n; ++i) y[s * n + i] = in[i] / norm[s] * f.of(i / positions);
      });
      return;
    }
    for_each_heavy(samples_, [=](int64_t s) {
      const T* in = x + s * n;
      T* out = y + s * n;
      T* norms = norm + s * positions;
      sum_over_channels(in, in, norms, static_cast<T>(eps), channels, positions);
      for (int64_t p = 0; p < positions; ++p) norms[p] = std::sqrt(norms[p]);
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t begin = c * positions;
        for (int64_t p = 0; p < positions; ++p) out[begin + p] = in[begin + p] / norms[p] * f.of(c);
      }
    });
  }

  // With u = x / norm: df = sum u dy, and dx = (f dy - u sum(u f dy)) / norm.
  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* x = bottom[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    const T* norm = norm_.data_as<T>();
    if (learns(0)) add_factor_gradient(x, dy, norm);
    if (!propagate_down[0]) return;
    T* dx = bottom[0]->overwrite_diff<T>();
    const Factor<T> f = factor<T>();
    const int64_t channels = channels_, positions = positions_, n = channels * positions;
    const bool across = across_spatial();
    for_each_heavy(samples_, [=](int64_t s) {
      const int64_t groups = across ? 1 : positions;  // of one norm each, interleaved
      for (int64_t g = 0; g < groups; ++g) {
        const T one_over = 1 / norm[s * groups + g];
        double along = 0;
        for (int64_t i = g; i < n; i += groups) {
          along += static_cast<double>(x[s * n + i]) * dy[s * n + i] * f.of(i / positions);
        }
        const T share = static_cast<T>(along) * one_over * one_over;
        for (int64_t i = g; i < n; i += groups) {
          dx[s * n + i] = (dy[s * n + i] * f.of(i / positions) - x[s * n + i] * share) * one_over;
        }
      }
    });
  }

 private:
  template <typename T>
  struct Factor {
    const T* values;
    int64_t stride;  // 0: one for all channels
    T of(int64_t channel) const { return values[channel * stride]; }
  };
  template <typename T>
  Factor<T> factor() const {
    return {blobs()[0]->data_as<T>(), shared() ? 0 : 1};
  }
  bool shared() const { return param().norm_param().channel_shared(); }
  bool across_spatial() const { return param().norm_param().across_spatial(); }

  // sums[p] = start + the sum over the channels of a b at position p.
  template <typename T>
  static void sum_over_channels(const T* a, const T* b, T* sums, T start, int64_t channels,
                                int64_t positions) {
    std::fill_n(sums, positions, start);
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t begin = c * positions;
      for (int64_t p = 0; p < positions; ++p) sums[p] += a[begin + p] * b[begin + p];
    }
  }

  template <typename T>
  void add_factor_gradient(const T* x, const T* dy, const T* norm) {
    T* df = blobs()[0]->update_diff<T>();
    const bool across = across_spatial();
    const int64_t positions = positions_, n = channels_ * positions_;
    const Middle middle =
        shared() ? Middle{1, 1, samples_ * n} : Middle{samples_, channels_, positions_};
    sum_over_middle<T>(
        middle,
        [=](int64_t i, int64_t) {
          const int64_t s = i / n;
          return x[i] * dy[i] / norm[across ? s : s * positions + i % positions];
        },
        [=](int64_t c, double total) { df[c] += static_cast<T>(total); });
  }

  int64_t samples_ = 0;
  int64_t channels_ = 0;
  int64_t positions_ = 0;
  Blob norm_;  // samples x (1 or positions)
};

CAFFE_REGISTER_LAYER(Normalize, NormalizeLayer);

}  // namespace
}  // namespace caffe

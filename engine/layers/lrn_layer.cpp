#include <algorithm>

#include "kernels/for_each.h"
#include "kernels/inverse_power.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Local response normalisation, y = x s^-beta (Krizhevsky et al., "ImageNet classification with
// deep convolutional neural networks", 2012). ACROSS_CHANNELS: s = k + alpha / size * sum of x^2
// over `size` channels around. WITHIN_CHANNEL: s = 1 + alpha / size^2 * sum of x^2 over the size x
// size pixels around.
class LRNLayer : public PortableLayer<LRNLayer> {
 public:
  LRNLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), scale_(context.dtype), ratio_(context.dtype) {}

  void set_up(const Blobs&, const Blobs&) override {
    CAFFE_REQUIRE(param().lrn_param().local_size() % 2 == 1,
                  "local_size must be odd in lrn_param, found ", param().lrn_param().local_size());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() == 4, "needs a bottom with 4 axes, found ", in.str());
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    top[0]->reshape(in);
    scale_.reshape(in);
    ratio_.reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const auto& p = param().lrn_param();
    const bool across = p.norm_region() == LRNParameter::ACROSS_CHANNELS;
    const T* x = bottom[0]->data_as<T>();
    T* scale = scale_.overwrite_data<T>();
    const T size = static_cast<T>(p.local_size());
    const T base = across ? T{p.k()} : T{1};
    const T factor = across ? p.alpha() / size : p.alpha() / (size * size);
    const auto square = [=](int64_t i) { return x[i] * x[i]; };
    if (across) {
      sum_channels(bottom[0]->shape(), square, scale);
    } else {
      sum_pixels(bottom[0]->shape(), square, scale);
    }
    T* y = top[0]->overwrite_data<T>();
    with_inverse_power<T>(p.beta(), [&](const auto& inverse_power) {
      for_each(bottom[0]->count(), [=](int64_t i) {
        scale[i] = base + factor * scale[i];
        y[i] = x[i] * inverse_power(scale[i]);
      });
    });
  }

  // With window sums W: dx = dy s^-beta - 2 beta factor x W(dy y / s).
  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const auto& p = param().lrn_param();
    const bool across = p.norm_region() == LRNParameter::ACROSS_CHANNELS;
    const T size = static_cast<T>(p.local_size());
    const T factor = 2 * p.beta() * (across ? p.alpha() / size : p.alpha() / (size * size));
    const T* x = bottom[0]->data_as<T>();
    const T* y = top[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    const T* scale = scale_.data_as<T>();
    T* ratio = ratio_.overwrite_data<T>();
    for_each(bottom[0]->count(), [=](int64_t i) { ratio[i] = dy[i] * y[i] / scale[i]; });
    T* dx = bottom[0]->overwrite_diff<T>();
    const auto term = [=](int64_t i) { return ratio[i]; };
    if (across) {
      sum_channels(bottom[0]->shape(), term, dx);
    } else {
      sum_pixels(bottom[0]->shape(), term, dx);
    }
    with_inverse_power<T>(p.beta(), [&](const auto& inverse_power) {
      for_each(bottom[0]->count(),
               [=](int64_t i) { dx[i] = dy[i] * inverse_power(scale[i]) - factor * x[i] * dx[i]; });
    });
  }

 private:
  int64_t half() const { return (param().lrn_param().local_size() - 1) / 2; }

  // result[n, c, pixel] = sum of term over channels c - half() .. c + half(). In tiles of pixels
  // that stay in cache.
  template <typename T, typename Term>
  void sum_channels(const Shape& shape, const Term& term, T* result) const {
    constexpr int64_t kTile = 512;
    const int64_t channels = shape[1];
    const int64_t pixels = shape.count(2);
    const int64_t tiles = (pixels + kTile - 1) / kTile;
    const int64_t reach = half();
    for_each_heavy(shape[0] * tiles, [=](int64_t job) {
      const int64_t sample = job / tiles * channels * pixels;
      const int64_t begin = job % tiles * kTile;
      const int64_t n = std::min(kTile, pixels - begin);
      for (int64_t c = 0; c < channels; ++c) {
        T* row = result + sample + c * pixels + begin;
        std::fill_n(row, n, T{0});
        for (int64_t d = std::max<int64_t>(c - reach, 0); d <= std::min(c + reach, channels - 1);
             ++d) {
          const int64_t at = sample + d * pixels + begin;
          for (int64_t i = 0; i < n; ++i) row[i] += term(at + i);
        }
      }
    });
  }

  // result[plane, h, w] = sum of term over the square of pixels at most half() away.
  template <typename T, typename Term>
  void sum_pixels(const Shape& shape, const Term& term, T* result) const {
    const int64_t height = shape[2];
    const int64_t width = shape[3];
    const int64_t reach = half();
    for_each_heavy(shape[0] * shape[1], [=](int64_t plane) {
      const int64_t first = plane * height * width;
      for (int64_t h = 0; h < height; ++h) {
        for (int64_t w = 0; w < width; ++w) {
          T total = 0;
          for (int64_t r = std::max<int64_t>(h - reach, 0); r <= std::min(h + reach, height - 1);
               ++r) {
            for (int64_t c = std::max<int64_t>(w - reach, 0); c <= std::min(w + reach, width - 1);
                 ++c) {
              total += term(first + r * width + c);
            }
          }
          result[first + h * width + w] = total;
        }
      }
    });
  }

  Blob scale_;
  Blob ratio_;
};

CAFFE_REGISTER_LAYER(LRN, LRNLayer);

}  // namespace
}  // namespace caffe

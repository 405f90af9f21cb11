#include "layers/pooling_window.h"

#include <algorithm>
#include <cfloat>
#include <limits>
#include <vector>

#include "core/random.h"
#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Where one window lies: pixels [begin, end), and how many of them there are with the padding
// counted.
struct Span {
  int64_t begin;
  int64_t end;
  int64_t padded;
};

Span span(const PoolingAxis& axis, int64_t position) {
  const int64_t begin = position * axis.stride - axis.pad;
  const int64_t end = std::min(begin + axis.kernel, axis.image + axis.pad);
  return {std::max<int64_t>(begin, 0), std::min(end, axis.image), end - begin};
}

// What an average divides by. Caffe's rounding can give windows without any pixel; their average is
// 0.
template <typename T>
T divisor(const Span& rows, const Span& columns) {
  return static_cast<T>(std::max<int64_t>(rows.padded * columns.padded, 1));
}

// Maximum or average over windows of an N x C x H x W blob. The average counts padding that lies in
// the window. A second top (MAX) is the position of the maximum in its H x W plane. STOCHASTIC
// (Zeiler and Fergus 2013), for values of at least 0: in training each window gives one of its
// values, drawn in proportion to them, in testing their mean weighted by themselves.
class PoolingLayer : public PortableLayer<PoolingLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity tops() const override {
    return Arity::between(1, param().pooling_param().pool() == PoolingParameter::MAX ? 2 : 1);
  }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& p = param().pooling_param();
    CAFFE_REQUIRE(
        method() != PoolingParameter::STOCHASTIC ||
            (p.pad() == 0 && p.pad_h() == 0 && p.pad_w() == 0),
        "padding is implemented for MAX and AVE pooling only; take it out, or pad before");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    window_ = pooling_window(param().pooling_param(), in);
    for (Blob* blob : top) blob->reshape({in[0], in[1], window_.h.output, window_.w.output});
    planes_ = in[0] * in[1];
    channels_ = in[1];
    if (has_winners()) winner_.resize(static_cast<size_t>(top[0]->count()));
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    if (method() == PoolingParameter::AVE) return forward_average(x, y);
    if (method() == PoolingParameter::STOCHASTIC) {
      return training() ? forward_drawn(x, y) : forward_weighted(x, y);
    }
    forward_max(x, y);
    if (top.size() < 2) return;
    const int32_t* winner = winner_.data();
    T* mask = top[1]->overwrite_data<T>();
    for_each(top[1]->count(), [=](int64_t i) { mask[i] = static_cast<T>(winner[i]); });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const PoolingWindow window = window_;
    const int64_t outputs = window.h.output * window.w.output;
    const int64_t pixels = window.h.image * window.w.image;
    if (method() == PoolingParameter::AVE) return backward_average(dy, dx);
    if (!has_winners()) {
      return backward_weighted(bottom[0]->data_as<T>(), top[0]->data_as<T>(), dy, dx);
    }
    const int32_t* winner = winner_.data();
    for_each_heavy(planes_, [=](int64_t plane) {
      T* target = dx + plane * pixels;
      std::fill_n(target, pixels, T{0});
      for (int64_t i = plane * outputs; i < (plane + 1) * outputs; ++i) {
        if (winner[i] >= 0) target[winner[i]] += dy[i];
      }
    });
  }

 private:
  PoolingParameter::PoolMethod method() const { return param().pooling_param().pool(); }
  // Whether each output is one pixel of its window.
  bool has_winners() const {
    return method() == PoolingParameter::MAX ||
           (method() == PoolingParameter::STOCHASTIC && training());
  }

  // work(output, its window's rows, its columns) for the outputs of one plane, in order.
  template <typename Work>
  static void for_each_window(const PoolingWindow& window, int64_t plane, const Work& work) {
    int64_t out = plane * window.h.output * window.w.output;
    for (int64_t i = 0; i < window.h.output; ++i) {
      const Span rows = span(window.h, i);
      for (int64_t j = 0; j < window.w.output; ++j, ++out) work(out, rows, span(window.w, j));
    }
  }

  // work(pixel) for the pixels of a window, in order.
  template <typename Work>
  static void for_each_pixel(const PoolingWindow& window, const Span& rows, const Span& columns,
                             const Work& work) {
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        work(r * window.w.image + c);
      }
    }
  }

  template <typename T>
  void forward_drawn(const T* x, T* y) {
    const PoolingWindow window = window_;
    const Philox philox(random_key(context().seed, draw_name()));
    const RunContext& run = context();
    const int64_t channels = channels_;
    const int64_t samples = planes_ / std::max<int64_t>(channels, 1);
    const int64_t outputs = window.h.output * window.w.output;
    int32_t* winner = winner_.data();
    for_each_heavy(planes_, [=, &run](int64_t plane) {
      const T* image = x + plane * window.h.image * window.w.image;
      const int64_t sample = plane / channels;
      const auto position =
          static_cast<uint64_t>((run.pass * samples + sample) * run.world + run.rank);
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        double total = 0;
        for_each_pixel(window, rows, columns, [&](int64_t at) { total += image[at]; });
        const auto place = static_cast<uint64_t>(out - sample * channels * outputs);
        const uint32_t word = philox.block(place / 4, position)[place % 4];
        const double limit = total * (static_cast<double>(word) + 0.5) * 0x1.0p-32;
        int64_t drawn = -1;
        double sum = 0;
        for_each_pixel(window, rows, columns, [&](int64_t at) {
          if (drawn >= 0 && sum >= limit) return;
          drawn = at;
          sum += image[at];
        });
        y[out] = drawn < 0 ? T{0} : image[drawn];
        winner[out] = static_cast<int32_t>(drawn);
      });
    });
  }

  // Sum of squares over sum.
  template <typename T>
  void forward_weighted(const T* x, T* y) {
    const PoolingWindow window = window_;
    for_each_heavy(planes_, [=](int64_t plane) {
      const T* image = x + plane * window.h.image * window.w.image;
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        T total = static_cast<T>(FLT_MIN);
        T squares = 0;
        for_each_pixel(window, rows, columns, [&](int64_t at) {
          total += image[at];
          squares += image[at] * image[at];
        });
        y[out] = squares / total;
      });
    });
  }

  template <typename T>
  void backward_weighted(const T* x, const T* y, const T* dy, T* dx) {
    const PoolingWindow window = window_;
    for_each_heavy(planes_, [=](int64_t plane) {
      const int64_t pixels = window.h.image * window.w.image;
      const T* image = x + plane * pixels;
      T* target = dx + plane * pixels;
      std::fill_n(target, pixels, T{0});
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        T total = static_cast<T>(FLT_MIN);
        for_each_pixel(window, rows, columns, [&](int64_t at) { total += image[at]; });
        const T share = dy[out] / total;
        for_each_pixel(window, rows, columns,
                       [&](int64_t at) { target[at] += share * (2 * image[at] - y[out]); });
      });
    });
  }

  // The first of equal values wins. A window without any pixel, which Caffe's rounding can give,
  // has no winner.
  template <typename T>
  void forward_max(const T* x, T* y) {
    const PoolingWindow window = window_;
    int32_t* winner = winner_.data();
    for_each_heavy(planes_, [=](int64_t plane) {
      const T* image = x + plane * window.h.image * window.w.image;
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        int64_t best = -1;
        T largest = std::numeric_limits<T>::lowest();
        if (rows.begin < rows.end && columns.begin < columns.end) {
          best = rows.begin * window.w.image + columns.begin;
          largest = image[best];
        }
        for_each_pixel(window, rows, columns, [&](int64_t at) {
          if (image[at] > largest) {
            largest = image[at];
            best = at;
          }
        });
        y[out] = largest;
        winner[out] = static_cast<int32_t>(best);
      });
    });
  }

  template <typename T>
  void forward_average(const T* x, T* y) {
    const PoolingWindow window = window_;
    for_each_heavy(planes_, [=](int64_t plane) {
      const T* image = x + plane * window.h.image * window.w.image;
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        T total = 0;
        for_each_pixel(window, rows, columns, [&](int64_t at) { total += image[at]; });
        y[out] = total / divisor<T>(rows, columns);
      });
    });
  }

  template <typename T>
  void backward_average(const T* dy, T* dx) {
    const PoolingWindow window = window_;
    for_each_heavy(planes_, [=](int64_t plane) {
      T* image = dx + plane * window.h.image * window.w.image;
      std::fill_n(image, window.h.image * window.w.image, T{0});
      for_each_window(window, plane, [&](int64_t out, const Span& rows, const Span& columns) {
        const T share = dy[out] / divisor<T>(rows, columns);
        for_each_pixel(window, rows, columns, [&](int64_t at) { image[at] += share; });
      });
    });
  }

  PoolingWindow window_;
  int64_t planes_ = 0;
  int64_t channels_ = 0;
  std::vector<int32_t> winner_;  // where in its plane each output came from; -1: from nowhere
};

CAFFE_REGISTER_LAYER(Pooling, PoolingLayer);

}  // namespace
}  // namespace caffe

#include <algorithm>
#include <optional>
#include <vector>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "kernels/for_each.h"
#include "kernels/inverse_power.h"

namespace caffe::onednn {
namespace {

using Forward = dnnl::lrn_forward::primitive_desc;
using Backward = dnnl::lrn_backward::primitive_desc;

// How the channels of a 4-D format lie: in blocks of `block`, pixels in between. 1: plain; all of
// them: channels last.
struct Channels {
  int64_t samples, channels, pixels, block;
  int64_t padded() const { return (channels + block - 1) / block * block; }
};

Channels channels_of(const Desc& format, const Shape& shape) {
  const Dims dims = dims_of(shape);
  const auto tagged = [&](dnnl::memory::format_tag tag) {
    return format == Desc(dims, format.get_data_type(), tag);
  };
  Channels result{shape[0], shape[1], shape.count(2), 1};
  if (tagged(dnnl::memory::format_tag::nChw8c)) {
    result.block = 8;
  } else if (tagged(dnnl::memory::format_tag::nChw16c)) {
    result.block = 16;
  } else if (tagged(dnnl::memory::format_tag::nhwc)) {
    result.block = shape[1];
  } else if (!is_plain(format)) {
    throw Refusal{"no kernel for the format " + format_name(format)};
  }
  return result;
}

// Across channels, in the layout of the bottom, where oneDNN has no fast kernel (on AVX2, going
// back): runs of kTile pixels are gathered channel by channel, so that sums over neighbouring
// channels are sums of rows.
class Normaliser {
 public:
  Normaliser(const Channels& layout, const LRNParameter& param)
      : layout_(layout),
        reach_((param.local_size() - 1) / 2),
        base_(param.k()),
        factor_(param.alpha() / static_cast<float>(param.local_size())),
        beta_(param.beta()) {}

  template <typename T>
  void forward(const T* x, T* y) const {
    with_inverse_power<float>(beta_, [&](const auto& inverse_power) {
      for_each_tile(3, [&](int64_t at, int64_t n, float* in, float* squares, float* out) {
        gather(x + at, n, in);
        scales(in, squares, out);
        for (int64_t i = 0; i < rows(); ++i) out[i] = in[i] * inverse_power(out[i]);
        scatter(out, n, y + at);
      });
    });
  }

  // With window sums W: dx = dy s^-beta - 2 beta factor x W(x dy s^-beta / s).
  template <typename T>
  void backward(const T* x, const T* dy, T* dx) const {
    const float factor = 2 * beta_ * factor_;
    with_inverse_power<float>(beta_, [&](const auto& inverse_power) {
      for_each_tile(4, [&](int64_t at, int64_t n, float* in, float* ratio, float* scale) {
        float* const gradient = scale + rows();
        gather(x + at, n, in);
        scales(in, ratio, scale);
        gather(dy + at, n, gradient);
        for (int64_t i = 0; i < rows(); ++i) {
          gradient[i] *= inverse_power(scale[i]);
          ratio[i] = in[i] * gradient[i] / scale[i];
        }
        for (int64_t c = 0; c < layout_.channels; ++c) {
          float* const row = gradient + c * kTile;
          const float* const centre = in + c * kTile;
          float sum[kTile];
          window(ratio, c, sum);
          for (int64_t i = 0; i < kTile; ++i) row[i] -= factor * centre[i] * sum[i];
        }
        scatter(gradient, n, dx + at);
      });
    });
  }

 private:
  static constexpr int64_t kTile = 32;

  int64_t rows() const { return layout_.channels * kTile; }

  // work(offset of the tile's first pixel, pixels, arrays of rows() each, one after another).
  template <typename Work>
  void for_each_tile(int64_t arrays, const Work& work) const {
    const int64_t tiles = (layout_.pixels + kTile - 1) / kTile;
    for_each_heavy(layout_.samples * tiles, [&](int64_t job) {
      thread_local std::vector<float> scratch;
      scratch.resize(static_cast<size_t>(arrays * rows()));
      const int64_t first = job % tiles * kTile;
      const int64_t at = job / tiles * layout_.padded() * layout_.pixels + first * layout_.block;
      float* const memory = scratch.data();
      work(at, std::min(kTile, layout_.pixels - first), memory, memory + rows(),
           memory + 2 * rows());
    });
  }

  template <typename T>
  void gather(const T* from, int64_t n, float* to) const {
    for_each_channel([&](int64_t c, int64_t offset) {
      float* const row = to + c * kTile;
      const T* const pixels = from + offset;
      for (int64_t p = 0; p < n; ++p) row[p] = pixels[p * layout_.block];
      std::fill(row + n, row + kTile, 0.f);
    });
  }

  template <typename T>
  void scatter(const float* from, int64_t n, T* to) const {
    for_each_channel([&](int64_t c, int64_t offset) {
      const float* const row = from + c * kTile;
      T* const pixels = to + offset;
      for (int64_t p = 0; p < n; ++p) pixels[p * layout_.block] = row[p];
    });
    if (layout_.padded() == layout_.channels) return;
    T* const last = to + layout_.channels / layout_.block * layout_.block * layout_.pixels;
    for (int64_t lane = layout_.channels % layout_.block; lane < layout_.block; ++lane) {
      for (int64_t p = 0; p < n; ++p) last[p * layout_.block + lane] = 0;
    }
  }

  template <typename Work>
  void for_each_channel(const Work& work) const {
    for (int64_t c = 0; c < layout_.channels; ++c) {
      work(c, c / layout_.block * layout_.block * layout_.pixels + c % layout_.block);
    }
  }

  // scale = base + factor * window sum of squares.
  void scales(const float* in, float* squares, float* scale) const {
    for (int64_t i = 0; i < rows(); ++i) squares[i] = in[i] * in[i];
    for (int64_t c = 0; c < layout_.channels; ++c) {
      float* const row = scale + c * kTile;
      window(squares, c, row);
      for (int64_t i = 0; i < kTile; ++i) row[i] = base_ + factor_ * row[i];
    }
  }

  // The sum of the rows around channel c.
  void window(const float* terms, int64_t c, float* sum) const {
    std::fill(sum, sum + kTile, 0.f);
    const int64_t end = std::min(c + reach_, layout_.channels - 1);
    for (int64_t d = std::max<int64_t>(c - reach_, 0); d <= end; ++d) {
      const float* const row = terms + d * kTile;
      for (int64_t i = 0; i < kTile; ++i) sum[i] += row[i];
    }
  }

  Channels layout_;
  int64_t reach_;
  float base_, factor_, beta_;
};

// oneDNN's formula is Caffe's: alpha is divided by the window's size.
class Lrn : public DnnlImplementation {
 public:
  explicit Lrn(const Operation& operation)
      : format_(format(operation)),
        own_(channels_of(format_, operation.bottom[0]->shape()), operation.param().lrn_param()),
        bottom_(operation.bottom[0]->data(), format_),
        top_(operation.top[0]->data(), format_),
        bottom_diff_(operation.bottom[0]->diff(), format_),
        top_diff_(operation.top[0]->diff(), format_),
        wanted_(propagates_down(operation, 0)) {
    if (!plan_primitives(operation)) details_ = "own kernel " + format_name(format_);
  }

  void forward() override {
    if (forward_) return forward_->run();
    with_number(format_, [&](auto number) {
      using T = decltype(number);
      const T* x = bottom_.read<T>();
      own_.forward(x, top_.write<T>());
    });
  }

  void backward() override {
    if (!wanted_) return;
    if (backward_) return backward_->run();
    with_number(format_, [&](auto number) {
      using T = decltype(number);
      const T *x = bottom_.read<T>(), *dy = top_diff_.read<T>();
      own_.backward(x, dy, bottom_diff_.write<T>());
    });
  }

  BufferUses forward_uses() const override {
    return {bottom_.use(Access::kRead), top_.use(Access::kWrite)};
  }
  BufferUses backward_uses() const override {
    if (!wanted_) return {};
    return {bottom_.use(Access::kRead), top_diff_.use(Access::kRead),
            bottom_diff_.use(Access::kWrite)};
  }

 private:
  static Desc format(const Operation& operation) {
    require_no_fusion(operation);
    if (operation.param().lrn_param().norm_region() != LRNParameter::ACROSS_CHANNELS)
      throw Refusal{"only ACROSS_CHANNELS"};
    const Blob& bottom = *operation.bottom[0];
    return planned_format(bottom.data(), dims_of(bottom.shape()));
  }

  // Where oneDNN has fast kernels both ways.
  bool plan_primitives(const Operation& operation) {
    constexpr auto kAcross = dnnl::algorithm::lrn_across_channels;
    const LRNParameter& param = operation.param().lrn_param();
    const Forward pd(cpu_engine(), forward_kind(operation), kAcross, format_, format_,
                     param.local_size(), param.alpha(), param.beta(), param.k(),
                     strict_attributes());
    if (is_reference(pd)) return false;
    std::optional<Backward> backward_pd;
    if (wanted_) {
      backward_pd.emplace(cpu_engine(), kAcross, format_, format_, format_, param.local_size(),
                          param.alpha(), param.beta(), param.k(), pd, strict_attributes());
      if (is_reference(*backward_pd)) return false;
    }
    details_ = describe(pd, format_, format_);
    forward_.emplace(pd);
    forward_->bind(DNNL_ARG_SRC, format_, bottom_.buffer(), Access::kRead);
    forward_->bind(DNNL_ARG_DST, format_, top_.buffer(), Access::kWrite);
    const Desc workspace = pd.workspace_desc();
    void* kept = nullptr;
    if (operation.backward && workspace.get_size() > 0) {
      kept = layer_workspace(*operation.layer, workspace.get_size());
      forward_->bind(DNNL_ARG_WORKSPACE, workspace, kept);
    }
    if (!wanted_) return true;
    backward_.emplace(*backward_pd);
    backward_->bind(DNNL_ARG_SRC, format_, bottom_.buffer(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_DST, format_, top_diff_.buffer(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_SRC, format_, bottom_diff_.buffer(), Access::kWrite);
    if (kept) backward_->bind(DNNL_ARG_WORKSPACE, workspace, kept);
    return true;
  }

  Desc format_;
  Normaliser own_;
  Array bottom_, top_, bottom_diff_, top_diff_;
  bool wanted_;
  std::optional<Step> forward_, backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(LRN, onednn, make<Lrn>);

}  // namespace
}  // namespace caffe::onednn

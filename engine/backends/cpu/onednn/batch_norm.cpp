#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "backends/cpu/onednn/statistics.h"
#include "kernels/for_each.h"
#include "layers/broadcast.h"

namespace caffe::onednn {
namespace {

using Flags = dnnl::normalization_flags;
using Forward = dnnl::batch_normalization_forward::primitive_desc;
using Backward = dnnl::batch_normalization_backward::primitive_desc;

// Parts of the layer's workspace.
constexpr size_t kStatistics = 0, kSigns = 1;

// BatchNorm, with Scale and ReLU where they follow: one primitive each way. In place, the input is
// kept for backward by exchanging memory with the blob.
class BatchNorm : public DnnlImplementation {
 public:
  explicit BatchNorm(const Operation& operation)
      : layer_(*operation.layer),
        chain_(normalisation_chain(operation.fused)),
        global_(uses_global_statistics(layer_)),
        in_place_(&operation.bottom[0]->data() == &operation.top[0]->data()),
        keeps_input_(in_place_ && propagates_down(operation, 0)),
        format_(format(operation)),
        channels_(operation.bottom[0]->shape()[1]),
        source_(operation.bottom[0]->data(), format_),
        destination_(operation.top[0]->data(), format_),
        forward_pd_(describe_forward(operation, format_)),
        forward_(forward_pd_) {
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    details_ = describe(forward_pd_, format_, format_);
    if (chain_.scale) details_ += "+Scale";
    if (chain_.relu) details_ += "+ReLU";
    statistics_ = static_cast<float*>(
        layer_workspace(layer_, static_cast<size_t>(2 * channels_) * sizeof(float), kStatistics));
    bind_forward();
    if (operation.backward && propagates_down(operation, 0)) plan_backward(operation);
  }

  void forward() override {
    if (global_) read_global_statistics(layer_, mean(), variance());
    if (keeps_input_) {
      run_keeping_input();
    } else {
      forward_.set(DNNL_ARG_SRC, const_cast<void*>(source_.read<void>()));
      forward_.set(DNNL_ARG_DST,
                   in_place_ ? destination_.update<void>() : destination_.write<void>());
      forward_.run();
    }
    if (!global_ && !layer_.context().repeating)
      add_to_running_statistics(layer_, mean(), variance(), per_channel_);
  }

  void backward() override {
    if (!backward_) return;
    const void* x = keeps_input_ ? kept_->read<void>() : source_.read<void>();
    backward_->set(DNNL_ARG_SRC, const_cast<void*>(x));
    if (scale_overwrites_) chain_.scale->blobs()[0]->diff().set_zero();
    if (scale_gradient_) backward_->set(DNNL_ARG_DIFF_SCALE, scale_gradient_->begin());
    if (shift_gradient_) backward_->set(DNNL_ARG_DIFF_SHIFT, shift_gradient_->begin());
    backward_->run();
    if (scale_gradient_) scale_gradient_->end();
    if (shift_gradient_) shift_gradient_->end();
  }

  BufferUses forward_uses() const override {
    if (!keeps_input_)
      return {source_.use(Access::kRead),
              destination_.use(in_place_ ? Access::kUpdate : Access::kWrite)};
    BufferUse kept = kept_->write_instead_of(source_);
    kept.takes = true;
    return {source_.use(Access::kRead), kept};
  }
  BufferUses backward_uses() const override {
    if (!backward_) return {};
    BufferUses uses = {keeps_input_ ? kept_->use(Access::kRead) : source_.use(Access::kRead)};
    backward_->add_uses(&uses);
    return uses;
  }

  bool rewind() override {
    if (keeps_input_) std::memcpy(source_.write<void>(), kept_->read<void>(), format_.get_size());
    return keeps_input_ || !in_place_;
  }

 private:
  Desc format(const Operation& operation) {
    const Blob& bottom = *operation.bottom[0];
    const Shape& shape = bottom.shape();
    fuses_relu(operation);
    if (shape.axes() < 2 || shape.axes() > 5) throw Refusal{"only 2 to 5 axes"};
    per_channel_ = shape.count() / shape[1];
    if (chain_.scale) require_channel_scale(*chain_.scale, shape);
    if (chain_.scale && operation.backward && !propagates_down(operation, 0))
      throw Refusal{"the gradient stops here"};
    const Desc planned = planned_format(bottom.data(), dims_of(shape));
    return is_slow(operation, planned) ? Desc(planned.get_dims(), planned.get_data_type(),
                                              dnnl::memory::format_tag::nChw16c)
                                       : planned;
  }

  // In bf16, with pixels as the outer axes and channels that fill no whole vectors, oneDNN has only
  // a loop that takes 30 times as long as its kernel for blocks of channels.
  bool is_slow(const Operation& operation, const Desc& format) const {
    const bool pixels_outermost =
        format.get_dims().size() == 4 &&
        format == Desc(format.get_dims(), NumberType::bf16, dnnl::memory::format_tag::nhwc);
    return pixels_outermost && std::string_view(describe_forward(operation, format).impl_info_str())
                                   .starts_with("nspc_bnorm");
  }

  Flags flags() const {
    Flags flags = Flags::none;
    if (global_) flags |= Flags::use_global_stats;
    if (chain_.scale) flags |= Flags::use_scale;
    if (chain_.shift()) flags |= Flags::use_shift;
    if (chain_.relu) flags |= Flags::fuse_norm_relu;
    return flags;
  }

  Forward describe_forward(const Operation& operation, const Desc& format) const {
    const bool gives_statistics = operation.backward || !global_;
    return Forward(
        cpu_engine(),
        gives_statistics ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference,
        format, format, layer_.param().batch_norm_param().eps(), flags(), strict_attributes());
  }

  void bind_forward() {
    const Desc vector = row_major({channels_});
    forward_.bind(DNNL_ARG_SRC, format_, nullptr);
    forward_.bind(DNNL_ARG_DST, format_, nullptr);
    forward_.bind(DNNL_ARG_MEAN, vector, mean());
    forward_.bind(DNNL_ARG_VARIANCE, vector, variance());
    if (chain_.scale)
      forward_.bind(DNNL_ARG_SCALE, vector, chain_.scale->blobs()[0]->data(), Access::kRead);
    if (chain_.shift())
      forward_.bind(DNNL_ARG_SHIFT, vector, chain_.scale->blobs()[1]->data(), Access::kRead);
    const Desc signs = forward_pd_.workspace_desc();
    if (signs.get_size() > 0) {
      signs_ = layer_workspace(layer_, signs.get_size(), kSigns);
      forward_.bind(DNNL_ARG_WORKSPACE, signs, signs_);
    }
    if (keeps_input_) kept_.emplace(layer_.kept_input(source_.buffer().count()), format_);
  }

  void plan_backward(const Operation& operation) {
    const Desc vector = row_major({channels_});
    const Backward pd(cpu_engine(),
                      chain_.scale ? dnnl::prop_kind::backward : dnnl::prop_kind::backward_data,
                      format_, format_, format_, layer_.param().batch_norm_param().eps(), flags(),
                      forward_pd_, strict_attributes());
    backward_.emplace(pd);
    backward_->bind(DNNL_ARG_SRC, format_, nullptr);
    bind_in_out(*backward_, DNNL_ARG_DIFF_DST, format_, operation.top[0]->diff(), DNNL_ARG_DIFF_SRC,
                format_, operation.bottom[0]->diff());
    backward_->bind(DNNL_ARG_MEAN, vector, mean());
    backward_->bind(DNNL_ARG_VARIANCE, vector, variance());
    if (signs_) backward_->bind(DNNL_ARG_WORKSPACE, pd.workspace_desc(), signs_);
    const auto gradient = [&](int index) {
      return ParameterGradient(
          vector, chain_.scale->learns(index) ? &chain_.scale->blobs()[index]->diff() : nullptr);
    };
    if (!chain_.scale) return;
    backward_->bind(DNNL_ARG_SCALE, vector, chain_.scale->blobs()[0]->data(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_SCALE, vector, nullptr);
    scale_gradient_.emplace(gradient(0));
    const Shape& shape = operation.bottom[0]->shape();
    scale_overwrites_ =
        chain_.scale->learns(0) && factor_gradient_overwrites({shape[0], shape[1], shape.count(2)});
    if (!chain_.shift()) return;
    backward_->bind(DNNL_ARG_DIFF_SHIFT, vector, nullptr);
    shift_gradient_.emplace(gradient(1));
  }

  // The input moves aside, by an exchange of memory where that is possible.
  void run_keeping_input() {
    kept_->take(source_, true);
    forward_.set(DNNL_ARG_SRC, const_cast<void*>(kept_->read<void>()));
    forward_.set(DNNL_ARG_DST, destination_.write<void>());
    forward_.run();
  }

  float* mean() const { return statistics_; }
  float* variance() const { return statistics_ + channels_; }

  Layer& layer_;
  NormalisationChain chain_;
  bool global_, in_place_, keeps_input_;
  int64_t per_channel_ = 0;
  Desc format_;
  int64_t channels_;
  Array source_, destination_;
  std::optional<Array> kept_;  // the input, where it is overwritten and backward needs it
  Forward forward_pd_;
  Step forward_;
  float* statistics_ = nullptr;  // means, then variances
  void* signs_ = nullptr;        // where ReLU let values through
  std::optional<Step> backward_;
  std::optional<ParameterGradient> scale_gradient_, shift_gradient_;
  bool scale_overwrites_ = false;
};

CAFFE_REGISTER_IMPLEMENTATION(BatchNorm, onednn, make<BatchNorm>, "Scale", "ReLU");

}  // namespace
}  // namespace caffe::onednn

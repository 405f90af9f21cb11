#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "backends/cpu/onednn/activation.h"
#include "backends/cpu/onednn/addend.h"
#include "backends/cpu/onednn/convolution_kernels.h"
#include "backends/cpu/onednn/statistics.h"
#include "backends/cpu/onednn/trial.h"
#include "layers/convolution_window.h"

namespace caffe::onednn {
namespace {

struct Convolution {
  using Forward = dnnl::convolution_forward::primitive_desc;
  using BackwardData = dnnl::convolution_backward_data::primitive_desc;
  using BackwardWeights = dnnl::convolution_backward_weights::primitive_desc;
  // Winograd would cost accuracy.
  static constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  static constexpr bool kAdjoint = false;
  static constexpr auto kWindow = convolution_window;
};

struct Deconvolution {
  using Forward = dnnl::deconvolution_forward::primitive_desc;
  using BackwardData = dnnl::deconvolution_backward_data::primitive_desc;
  using BackwardWeights = dnnl::deconvolution_backward_weights::primitive_desc;
  static constexpr auto kAlgorithm = dnnl::algorithm::deconvolution_direct;
  static constexpr bool kAdjoint = true;
  static constexpr auto kWindow = deconvolution_window;
};

struct Formats {
  Dims source, weights, destination, bias;
  Desc plain_weights;  // Caffe's order of them
};

// Exchanges the axes of outputs and inputs of a group.
void exchange(Dims* dims, bool grouped) {
  std::swap((*dims)[grouped ? 1 : 0], (*dims)[grouped ? 2 : 1]);
}

// oneDNN wants [groups x] outputs x inputs x kernel. Caffe's deconvolution has inputs x outputs.
void set_weights(const Operation& operation, bool adjoint, Formats* formats) {
  Dims dims = dims_of(operation.parameter(0).shape());
  const int64_t group = (adjoint ? formats->destination[1] : formats->source[1]) / dims[1];
  const bool grouped = group > 1;
  if (grouped) {
    dims[0] /= group;
    dims.insert(dims.begin(), group);
  }
  formats->plain_weights = row_major(dims);
  formats->weights = dims;
  if (!adjoint) return;
  Dims strides = formats->plain_weights.get_strides();
  exchange(&formats->weights, grouped);
  exchange(&strides, grouped);
  formats->plain_weights = Desc(formats->weights, NumberType::f32, strides);
}

Formats formats_of(const Operation& operation, bool adjoint) {
  const ConvolutionParameter& param = operation.param().convolution_param();
  const Blob& bottom = *operation.bottom[0];
  const int axes = bottom.shape().axes();
  if (bottom.shape().canonical_axis(param.axis()) != 1) throw Refusal{"only axis 1"};
  if (axes < 3 || axes > 5) throw Refusal{"only 1 to 3 spatial axes"};
  Formats formats;
  formats.source = dims_of(bottom.shape());
  formats.destination = dims_of(operation.top[0]->shape());
  set_weights(operation, adjoint, &formats);
  if (param.bias_term()) formats.bias = {formats.destination[1]};
  for (size_t i = 0; i < operation.bottom.size(); ++i) {
    if (operation.bottom[i]->shape() != bottom.shape()) throw Refusal{"bottoms of several shapes"};
    if (&operation.bottom[i]->data() == &operation.top[i]->data())
      throw Refusal{"cannot work in place"};
  }
  return formats;
}

// A BatchNorm with running statistics and a Scale after a convolution that never runs backward: per
// output channel y = factor * x + offset, applied while the convolution writes its result.
class Folded {
 public:
  explicit Folded(const Operation& operation)
      : chain_(normalisation_chain(operation.fused)), channels_(operation.top[0]->shape()[1]) {
    if (!active()) return;
    if (operation.backward) throw Refusal{"fuses normalisation only where nothing runs backward"};
    if (chain_.batch_norm && !uses_global_statistics(*chain_.batch_norm))
      throw Refusal{"fuses no BatchNorm with the batch's statistics"};
    if (chain_.scale) require_channel_scale(*chain_.scale, operation.top[0]->shape());
    factor_.resize(static_cast<size_t>(channels_));
    offset_.resize(factor_.size());
    Dims dims(static_cast<size_t>(operation.top[0]->shape().axes()), 1);
    dims[1] = channels_;
    format_ = row_major(dims);
  }

  bool active() const { return chain_.batch_norm != nullptr || chain_.scale != nullptr; }

  void append_to(dnnl::post_ops* after) const {
    if (!active()) return;
    after->append_binary(dnnl::algorithm::binary_mul, format_);
    after->append_binary(dnnl::algorithm::binary_add, format_);
  }

  void bind(Step& step) {
    if (!active()) return;
    step.bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, format_, factor_.data());
    step.bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1, format_, offset_.data());
  }

  // From the layers' values of now.
  void refresh() {
    if (!active()) return;
    const size_t n = factor_.size();
    std::fill(factor_.begin(), factor_.end(), 1.f);
    std::fill(offset_.begin(), offset_.end(), 0.f);
    if (chain_.batch_norm) {
      read_global_statistics(*chain_.batch_norm, offset_.data(), factor_.data());
      const float eps = chain_.batch_norm->param().batch_norm_param().eps();
      for (size_t c = 0; c < n; ++c) {
        factor_[c] = 1 / std::sqrt(factor_[c] + eps);
        offset_[c] *= -factor_[c];
      }
    }
    if (!chain_.scale) return;
    const float* scale = chain_.scale->blobs()[0]->data_as<float>();
    const float* shift = chain_.shift() ? chain_.scale->blobs()[1]->data_as<float>() : nullptr;
    for (size_t c = 0; c < n; ++c) {
      factor_[c] *= scale[c];
      offset_[c] = offset_[c] * scale[c] + (shift ? shift[c] : 0);
    }
  }

 private:
  NormalisationChain chain_;
  int64_t channels_;
  std::vector<float> factor_, offset_;
  Desc format_;
};

// Kind: Convolution or Deconvolution.
template <typename Kind>
class ConvolutionImplementation : public DnnlImplementation {
  using Forward = typename Kind::Forward;
  using BackwardData = typename Kind::BackwardData;
  using BackwardWeights = typename Kind::BackwardWeights;
  static constexpr auto kAlgorithm = Kind::kAlgorithm;

 public:
  explicit ConvolutionImplementation(const Operation& operation)
      : activation_(fused_activation(operation)),
        dims_(formats_of(operation, Kind::kAdjoint)),
        folded_(operation),
        addend_(Addend::find(operation)),
        window_(dense_window(operation)),
        bias_(dims_.bias.empty() ? Desc() : row_major(dims_.bias)),
        kind_(forward_kind(operation)),
        forward_pd_(fast_forward(number_type(operation))) {
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    details_ = describe(forward_pd_, forward_pd_.src_desc(), forward_pd_.dst_desc(),
                        (addend_ ? "+sum" : "") + suffix(activation_) + trial_note(forward_pd_));
    if (folded_.active()) details_ += " with normalisation";
    if (addend_) addend_->bind(operation, forward_pd_.dst_desc());
    for (size_t i = 0; i < operation.bottom.size(); ++i) plan_forward(operation, i);
    if (!operation.backward) return;
    plan_gradients(operation);
    for (size_t i = 0; i < operation.bottom.size(); ++i) plan_backward(operation, i);
  }

  void forward() override {
    folded_.refresh();
    if (addend_) addend_->place();
    for (Step& step : forward_) step.run();
  }

  void backward() override {
    for (Back& back : backward_) {
      if (back.activation) back.activation->run();
      if (back.weights) {
        back.weights->set(DNNL_ARG_DIFF_WEIGHTS, weights_gradient_->begin());
        if (bias_gradient_) back.weights->set(DNNL_ARG_DIFF_BIAS, bias_gradient_->begin());
        back.weights->run();
        weights_gradient_->end();
        if (bias_gradient_) bias_gradient_->end();
      }
      if (back.data) back.data->run();
    }
  }

  BufferUses forward_uses() const override {
    BufferUses uses = addend_ ? addend_->uses() : BufferUses();
    for (const Step& step : forward_) step.add_uses(&uses);
    return uses;
  }

  BufferUses backward_uses() const override {
    BufferUses uses;
    for (const Back& back : backward_) {
      for (const auto* step : {&back.activation, &back.weights, &back.data}) {
        if (*step) (*step)->add_uses(&uses);
      }
    }
    return uses;
  }

 private:
  // With dilation counted as oneDNN does: 0 is dense.
  static Window dense_window(const Operation& operation) {
    Window window =
        Kind::kWindow(operation.param().convolution_param(), operation.bottom[0]->shape());
    for (int64_t& dilation : window.dilation) --dilation;
    return window;
  }

  struct Back {
    std::optional<Step> activation, weights, data;
  };

  // What `describe` gives for this type; in floats where oneDNN has no kernel made for it. (Its
  // general one, a product of matrices, is slower in bf16 than theirs.)
  template <typename Describe>
  static auto fast(NumberType type, const Describe& describe) {
    if (type != NumberType::f32) {
      try {
        const auto wanted = describe(type);
        if (!is_reference(wanted) && kernel(wanted).find("gemm") == std::string_view::npos)
          return wanted;
      } catch (const dnnl::error&) {
      }
    }
    return describe(NumberType::f32);
  }

  Forward fast_forward(NumberType wanted) const {
    const auto described = [&](const dnnl::primitive_attr& attributes) {
      return fast(wanted, [&](NumberType type) { return describe_forward(type, attributes); });
    };
    const dnnl::primitive_attr all = attributes(addend_.has_value());
    const Forward first = described(all);
    if (addend_) require_kernel_of(described(attributes(false)), first);
    return fastest(first, [&] {
      return describe_forward(first.src_desc(), first.weights_desc(), first.dst_desc(), all);
    });
  }

  // A sum of its own costs less than a slower kernel.
  static void require_kernel_of(const Forward& without, const Forward& with_sum) {
    const bool same = kernel(without) == kernel(with_sum) &&
                      without.src_desc().get_data_type() == with_sum.src_desc().get_data_type();
    if (!same) throw Refusal{"the kernel for this shape takes no sum along"};
  }

  // As `fast`, for a gradient, which oneDNN wants described together with a pass forward.
  template <typename Describe>
  auto fast_gradient(const Describe& describe) const {
    const NumberType own = forward_pd_.src_desc().get_data_type();
    return fast(own, [&](NumberType type) {
      return describe(type == own ? forward_pd_ : describe_forward(type, attributes(false)));
    });
  }

  Forward describe_forward(const Desc& source, const Desc& weights, const Desc& destination,
                           const dnnl::primitive_attr& attributes) const {
    return Forward(cpu_engine(), kind_, kAlgorithm, source, weights, bias_, destination,
                   window_.stride, window_.dilation, window_.pad, window_.pad, attributes);
  }

  // What is done to the result before it is written, in this order.
  dnnl::primitive_attr attributes(bool sums) const {
    dnnl::primitive_attr attributes = strict_attributes();
    dnnl::post_ops after;
    folded_.append_to(&after);
    if (sums) after.append_sum();
    if (activation_) append_to(&after, *activation_);
    attributes.set_post_ops(after);
    return attributes;
  }

  Forward describe_forward(NumberType type, const dnnl::primitive_attr& attributes) const {
    const Desc weights = any_format(dims_.weights, type);
    const Forward free = describe_forward(any_format(dims_.source, type), weights,
                                          any_format(dims_.destination, type), attributes);
    const Forward first = without_padding(free, weights, attributes);
    if (!is_slow_forward(kernel(first), window_, channels_per_group())) return first;
    return direct_or<Forward>(first, {[&] {
                                return describe_forward(first.src_desc(), weights, first.dst_desc(),
                                                        attributes);
                              }});
  }

  // The same in formats without padding, where `padded` computes much that is of no use.
  Forward without_padding(const Forward& padded, const Desc& weights,
                          const dnnl::primitive_attr& attributes) const {
    const NumberType type = padded.src_desc().get_data_type();
    const bool first_layer = padded.src_desc() == row_major(dims_.source, type);
    if (first_layer || !pads_much(padded.src_desc(), padded.dst_desc())) return padded;
    try {
      const Forward other = describe_forward(channels_last(dims_.source, type), weights,
                                             channels_last(dims_.destination, type), attributes);
      if (kernel(other).starts_with("jit") || kernel(other).starts_with("brg")) return other;
    } catch (const dnnl::error&) {
    }
    return padded;
  }

  int64_t channels_per_group() const {
    return dims_.weights[dims_.weights.size() - window_.kernel.size() - 1];
  }

  void plan_forward(const Operation& operation, size_t i) {
    Step& step = forward_.emplace_back(forward_pd_);
    step.bind(DNNL_ARG_SRC, forward_pd_.src_desc(), operation.bottom[i]->data(), Access::kRead);
    step.bind(DNNL_ARG_WEIGHTS, forward_pd_.weights_desc(), dims_.plain_weights,
              operation.parameter(0).data(), Access::kRead);
    if (!dims_.bias.empty())
      step.bind(DNNL_ARG_BIAS, bias_, operation.parameter(1).data(), Access::kRead);
    folded_.bind(step);
    step.bind(DNNL_ARG_DST, forward_pd_.dst_desc(), operation.top[i]->data(), Access::kWrite);
  }

  void plan_gradients(const Operation& operation) {
    const bool learns_bias = !dims_.bias.empty() && operation.layer->learns(1);
    if (!operation.layer->learns(0) && !learns_bias) return;
    weights_pd_ = fast_gradient([&](const Forward& forward) {
      return describe_weights(forward, learns_bias ? bias_ : Desc());
    });
    details_ += gradient_note("weights", *weights_pd_);
    const Desc gradient = weights_pd_->diff_weights_desc();
    if (number_type(operation) != NumberType::f32)
      keep_master(gradient, dims_.plain_weights, operation.parameter(0).data());
    weights_gradient_.emplace(
        gradient, dims_.plain_weights,
        operation.layer->learns(0) ? &operation.parameter(0).diff() : nullptr);
    if (learns_bias) bias_gradient_.emplace(bias_, &operation.parameter(1).diff());
  }

  // Gradients of weights are floats.
  BackwardWeights describe_weights(const Forward& forward, const Desc& bias) const {
    const auto description = [&](const Desc& source, const Desc& weights, const Desc& destination) {
      return [=, this] {
        return BackwardWeights(cpu_engine(), kAlgorithm, source, weights, bias, destination,
                               window_.stride, window_.dilation, window_.pad, window_.pad, forward,
                               strict_attributes());
      };
    };
    const Desc source = forward.src_desc(), destination = forward.dst_desc();
    const Desc any = any_format(dims_.weights, NumberType::f32);
    const NumberType type = source.get_data_type();
    const bool floats = type == NumberType::f32;
    auto first = prefer<BackwardWeights>(
        {description(source, floats ? forward.weights_desc() : any, destination),
         description(source, any, destination),
         description(any_format(dims_.source, type), any, any_format(dims_.destination, type))});
    const auto again =
        description(first.src_desc(), first.diff_weights_desc(), first.diff_dst_desc());
    if (is_slow_weights_gradient(kernel(first), window_, first.diff_dst_desc())) {
      BackwardWeights other = again();
      if (advance_to("jit_bf16:", &other)) first = other;
    }
    return fastest(first, again);
  }

  void plan_backward(const Operation& operation, size_t i) {
    Back& back = backward_.emplace_back();
    Blob& bottom = *operation.bottom[i];
    Blob& top = *operation.top[i];
    if (activation_)
      back.activation.emplace(
          activation_gradient(*activation_, forward_pd_.dst_desc(), top.data(), top.diff()));
    if (weights_pd_) {
      back.weights.emplace(*weights_pd_);
      back.weights->bind(DNNL_ARG_SRC, weights_pd_->src_desc(), bottom.data(), Access::kRead);
      back.weights->bind(DNNL_ARG_DIFF_DST, weights_pd_->diff_dst_desc(), top.diff(),
                         Access::kRead);
      back.weights->bind(DNNL_ARG_DIFF_WEIGHTS, weights_pd_->diff_weights_desc(), nullptr);
      if (bias_gradient_) back.weights->bind(DNNL_ARG_DIFF_BIAS, bias_, nullptr);
    }
    if (!propagates_down(operation, i)) return;
    const auto pd = fast_gradient([&](const Forward& forward) { return describe_data(forward); });
    if (i == 0) details_ += gradient_note("data", pd);
    back.data.emplace(pd);
    back.data->bind(DNNL_ARG_DIFF_DST, pd.diff_dst_desc(), top.diff(), Access::kRead);
    back.data->bind(DNNL_ARG_WEIGHTS, pd.weights_desc(), dims_.plain_weights,
                    operation.parameter(0).data(), Access::kRead);
    back.data->bind(DNNL_ARG_DIFF_SRC, pd.diff_src_desc(), bottom.diff(), Access::kWrite);
  }

  BackwardData describe_data(const Forward& forward) const {
    const auto description = [&](const Desc& source, const Desc& weights, const Desc& destination) {
      return [=, this] {
        return BackwardData(cpu_engine(), kAlgorithm, source, weights, destination, window_.stride,
                            window_.dilation, window_.pad, window_.pad, forward,
                            strict_attributes());
      };
    };
    const Desc source = forward.src_desc(), destination = forward.dst_desc();
    const NumberType type = source.get_data_type();
    const Desc any = any_format(dims_.weights, type);
    const auto same_weights = description(source, forward.weights_desc(), destination);
    const auto same_images = description(source, any, destination);
    const auto free =
        description(any_format(dims_.source, type), any, any_format(dims_.destination, type));
    auto first = prefer<BackwardData>({same_weights, same_images, free});
    if (is_slow_data_gradient(kernel(first)) || first.diff_dst_desc() != destination)
      first = direct_or(first, {same_weights, same_images});
    return fastest(first,
                   description(first.diff_src_desc(), first.weights_desc(), first.diff_dst_desc()));
  }

  std::optional<Activation> activation_;
  Formats dims_;
  Folded folded_;
  std::optional<Addend> addend_;
  Window window_;
  Desc bias_;
  dnnl::prop_kind kind_;
  Forward forward_pd_;
  std::optional<BackwardWeights> weights_pd_;
  std::optional<ParameterGradient> weights_gradient_, bias_gradient_;
  std::vector<Step> forward_;
  std::vector<Back> backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(Convolution, onednn, make<ConvolutionImplementation<Convolution>>,
                              "BatchNorm", "Scale", "Eltwise", CAFFE_FUSED_ACTIVATIONS);
CAFFE_REGISTER_IMPLEMENTATION(ConvolutionDepthwise, onednn,
                              make<ConvolutionImplementation<Convolution>>, "BatchNorm", "Scale",
                              "Eltwise", CAFFE_FUSED_ACTIVATIONS);
CAFFE_REGISTER_IMPLEMENTATION(DepthwiseConvolution, onednn,
                              make<ConvolutionImplementation<Convolution>>, "BatchNorm", "Scale",
                              "Eltwise", CAFFE_FUSED_ACTIVATIONS);
CAFFE_REGISTER_IMPLEMENTATION(Deconvolution, onednn, make<ConvolutionImplementation<Deconvolution>>,
                              "BatchNorm", "Scale", "Eltwise", CAFFE_FUSED_ACTIVATIONS);

}  // namespace
}  // namespace caffe::onednn

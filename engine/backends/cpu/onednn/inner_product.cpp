#include <optional>

#include "backends/cpu/onednn/activation.h"
#include "backends/cpu/onednn/trial.h"
#include "kernels/few_rows.h"

namespace caffe::onednn {
namespace {

using Forward = dnnl::inner_product_forward::primitive_desc;
using BackwardData = dnnl::inner_product_backward_data::primitive_desc;
using BackwardWeights = dnnl::inner_product_backward_weights::primitive_desc;

// oneDNN brings weights into an order of its own first, which does not pay for a few rows; with a
// single one it takes them as they are.
bool slower_than_portable(const Operation& operation, int64_t rows, int64_t inputs) {
  const auto& param = operation.param().inner_product_param();
  return number_type(operation) == NumberType::f32 && !operation.backward &&
         operation.fused.empty() && !param.transpose() && rows > 1 &&
         few_rows(rows, param.num_output(), inputs);
}

// The bottom as a plain matrix. oneDNN's matrix kernels are as fast on it as on blocked images, and
// all three passes then use the weights as they are; reordering a batch costs less than reordering
// weights.
Desc source_format(const Operation& operation) {
  const Blob& bottom = *operation.bottom[0];
  if (&bottom.data() == &operation.top[0]->data()) throw Refusal{"cannot work in place"};
  const int axis = bottom.shape().canonical_axis(operation.param().inner_product_param().axis());
  const int64_t rows = bottom.shape().count(0, axis), inputs = bottom.shape().count(axis);
  if (slower_than_portable(operation, rows, inputs))
    throw Refusal{"our own product of a few rows by plain weights is faster"};
  return row_major({rows, inputs}, number_type(operation));
}

class InnerProduct : public DnnlImplementation {
 public:
  explicit InnerProduct(const Operation& operation)
      : activation_(fused_activation(operation)),
        transpose_(operation.param().inner_product_param().transpose()),
        bias_term_(operation.param().inner_product_param().bias_term()),
        outputs_(operation.param().inner_product_param().num_output()),
        source_(source_format(operation)),
        destination_(row_major({source_.get_dims()[0], outputs_},
                               activation_ ? number_type(operation) : NumberType::f32)),
        weights_(any_format({outputs_, source_.get_dims()[1]}, number_type(operation))),
        bias_(bias_term_ ? row_major({outputs_}) : Desc()),
        forward_pd_(fast_forward(operation)),
        forward_(forward_pd_),
        destination_gradient_(row_major(destination_.get_dims(), number_type(operation))) {
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    details_ =
        describe(forward_pd_, source_, destination_, suffix(activation_) + trial_note(forward_pd_));
    forward_.bind(DNNL_ARG_SRC, source_, operation.bottom[0]->data(), Access::kRead);
    bind_weights(forward_, forward_pd_.weights_desc(), operation);
    if (bias_term_)
      forward_.bind(DNNL_ARG_BIAS, bias_, operation.parameter(1).data(), Access::kRead);
    forward_.bind(DNNL_ARG_DST, destination_, operation.top[0]->data(), Access::kWrite);
    if (!operation.backward) return;
    if (activation_)
      activation_gradient_.emplace(activation_gradient(
          *activation_, destination_, operation.top[0]->data(), operation.top[0]->diff()));
    plan_gradients(operation);
    if (propagates_down(operation, 0)) plan_backward_data(operation);
  }

  void forward() override { forward_.run(); }
  BufferUses forward_uses() const override { return uses_of({&forward_}); }
  BufferUses backward_uses() const override {
    return uses_of({pointer_to(activation_gradient_), pointer_to(gradients_), pointer_to(data_)});
  }

  void backward() override {
    if (activation_gradient_) activation_gradient_->run();
    if (gradients_) {
      gradients_->set(DNNL_ARG_DIFF_WEIGHTS, weights_gradient_->begin());
      if (bias_gradient_) gradients_->set(DNNL_ARG_DIFF_BIAS, bias_gradient_->begin());
      gradients_->run();
      weights_gradient_->end();
      if (bias_gradient_) bias_gradient_->end();
    }
    if (data_) data_->run();
  }

 private:
  Forward describe_forward(const Operation& operation, const Desc& weights,
                           const Desc& destination) const {
    return Forward(cpu_engine(), forward_kind(operation), source_, weights, bias_, destination,
                   attributes(activation_));
  }

  Forward fast_forward(const Operation& operation) const {
    const Forward first = describe_forward(operation, weights_, destination_);
    return fastest(first,
                   [&] { return describe_forward(operation, first.weights_desc(), destination_); });
  }

  // Caffe's transposed weights are the same matrix with its strides exchanged.
  Desc plain_weights() const {
    const Dims dims = weights_.get_dims();
    return transpose_ ? Desc(dims, NumberType::f32, Dims{1, outputs_}) : row_major(dims);
  }

  void bind_weights(Step& step, const Desc& desc, const Operation& operation) const {
    step.bind(DNNL_ARG_WEIGHTS, desc, plain_weights(), operation.parameter(0).data(),
              Access::kRead);
  }

  void plan_gradients(const Operation& operation) {
    const bool learns_bias = bias_term_ && operation.layer->learns(1);
    if (!operation.layer->learns(0) && !learns_bias) return;
    const Desc bias = learns_bias ? bias_ : Desc();
    const Forward forward = describe_forward(operation, weights_, destination_gradient_);
    const auto description = [&](const Desc& source, const Desc& weights) {
      return [=, this] {
        return BackwardWeights(cpu_engine(), source, weights, bias, destination_gradient_, forward,
                               strict_attributes());
      };
    };
    const bool floats = number_type(operation) == NumberType::f32;
    const Desc any = any_format(weights_.get_dims(), NumberType::f32);
    const auto first = prefer<BackwardWeights>(
        {description(source_, floats ? forward.weights_desc() : any), description(source_, any),
         description(any_format(source_.get_dims(), source_.get_data_type()), any)});
    const auto pd = fastest(first, description(first.src_desc(), first.diff_weights_desc()));
    details_ += gradient_note("weights", pd);
    gradients_.emplace(pd);
    gradients_->bind(DNNL_ARG_SRC, pd.src_desc(), operation.bottom[0]->data(), Access::kRead);
    gradients_->bind(DNNL_ARG_DIFF_DST, destination_gradient_, operation.top[0]->diff(),
                     Access::kRead);
    gradients_->bind(DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc(), nullptr);
    if (!floats)
      keep_master(pd.diff_weights_desc(), plain_weights(), operation.parameter(0).data());
    weights_gradient_.emplace(
        pd.diff_weights_desc(), plain_weights(),
        operation.layer->learns(0) ? &operation.parameter(0).diff() : nullptr);
    if (!learns_bias) return;
    gradients_->bind(DNNL_ARG_DIFF_BIAS, bias_, nullptr);
    bias_gradient_.emplace(bias_, &operation.parameter(1).diff());
  }

  void plan_backward_data(const Operation& operation) {
    const Forward forward = describe_forward(operation, weights_, destination_gradient_);
    const auto description = [&](const Desc& source, const Desc& weights) {
      return [=, this] {
        return BackwardData(cpu_engine(), source, weights, destination_gradient_, forward,
                            strict_attributes());
      };
    };
    const Desc any = any_format(source_.get_dims(), source_.get_data_type());
    const auto first =
        prefer<BackwardData>({description(source_, forward.weights_desc()),
                              description(source_, weights_), description(any, weights_)});
    const auto pd = fastest(first, description(first.diff_src_desc(), first.weights_desc()));
    details_ += gradient_note("data", pd);
    data_.emplace(pd);
    data_->bind(DNNL_ARG_DIFF_DST, destination_gradient_, operation.top[0]->diff(), Access::kRead);
    bind_weights(*data_, pd.weights_desc(), operation);
    data_->bind(DNNL_ARG_DIFF_SRC, pd.diff_src_desc(), operation.bottom[0]->diff(), Access::kWrite);
  }

  std::optional<Activation> activation_;
  bool transpose_, bias_term_;
  int64_t outputs_;
  Desc source_, destination_, weights_, bias_;
  Forward forward_pd_;
  Step forward_;
  Desc destination_gradient_;
  std::optional<Step> activation_gradient_, gradients_, data_;
  std::optional<ParameterGradient> weights_gradient_, bias_gradient_;
};

CAFFE_REGISTER_IMPLEMENTATION(InnerProduct, onednn, make<InnerProduct>, CAFFE_FUSED_ACTIVATIONS);

}  // namespace
}  // namespace caffe::onednn

#include "backends/cpu/onednn/activation.h"

#include <functional>
#include <map>

namespace caffe::onednn {
namespace {

using enum dnnl::algorithm;
using Maybe = std::optional<Activation>;

Activation of_input(const char* type, dnnl::algorithm algorithm, float alpha = 0, float beta = 0) {
  return {type, algorithm, algorithm, alpha, beta, false};
}

Activation of_output(const char* type, dnnl::algorithm forward, dnnl::algorithm gradient,
                     float alpha = 0, float beta = 0) {
  return {type, forward, gradient, alpha, beta, true};
}

Maybe relu(const LayerParameter& param) {
  const float slope = param.relu_param().negative_slope();
  return slope >= 0 ? of_output("ReLU", eltwise_relu, eltwise_relu_use_dst_for_bwd, slope)
                    : of_input("ReLU", eltwise_relu, slope);
}

Maybe elu(const LayerParameter& param) {
  const float alpha = param.elu_param().alpha();
  return alpha >= 0 ? of_output("ELU", eltwise_elu, eltwise_elu_use_dst_for_bwd, alpha)
                    : of_input("ELU", eltwise_elu, alpha);
}

// oneDNN passes no gradient at min.
Maybe clip(const LayerParameter& param) {
  const auto& p = param.clip_param();
  return Activation{"Clip", eltwise_clip, undef, p.min(), p.max(), false};
}

Maybe power(const LayerParameter& param) {
  const auto& p = param.power_param();
  if (p.power() != 1) return std::nullopt;
  return of_output("Power", eltwise_linear, eltwise_linear, p.scale(), p.shift());
}

Maybe exponential(const LayerParameter& param) {
  const auto& p = param.exp_param();
  if (p.base() != -1 || p.scale() != 1 || p.shift() != 0) return std::nullopt;
  return of_output("Exp", eltwise_exp, eltwise_exp_use_dst_for_bwd);
}

Maybe logarithm(const LayerParameter& param) {
  const auto& p = param.log_param();
  if (p.base() != -1 || p.scale() != 1 || p.shift() != 0) return std::nullopt;
  return of_input("Log", eltwise_log);
}

const std::map<std::string, std::function<Maybe(const LayerParameter&)>>& makers() {
  static const std::map<std::string, std::function<Maybe(const LayerParameter&)>> map = {
      {"ReLU", relu},
      {"ELU", elu},
      {"Clip", clip},
      {"Power", power},
      {"Exp", exponential},
      {"Log", logarithm},
      {"ReLU6",
       [](const LayerParameter&) {
         return of_output("ReLU6", eltwise_clip_v2, eltwise_clip_v2_use_dst_for_bwd, 0, 6);
       }},
      {"Sigmoid",
       [](const LayerParameter&) {
         return of_output("Sigmoid", eltwise_logistic, eltwise_logistic_use_dst_for_bwd);
       }},
      {"TanH",
       [](const LayerParameter&) {
         return of_output("TanH", eltwise_tanh, eltwise_tanh_use_dst_for_bwd);
       }},
      {"BNLL", [](const LayerParameter&) { return of_input("BNLL", eltwise_soft_relu, 1); }},
      {"AbsVal", [](const LayerParameter&) { return of_input("AbsVal", eltwise_abs); }},
      {"Swish", [](const LayerParameter& param) {
         return of_input("Swish", eltwise_swish, param.swish_param().beta());
       }}};
  return map;
}

}  // namespace

bool reads_output(const Activation& activation) {
  return activation.from_output && activation.gradient != activation.forward;
}

std::optional<Activation> activation_of(const LayerParameter& param) {
  const auto maker = makers().find(param.type());
  return maker == makers().end() ? std::nullopt : maker->second(param);
}

std::optional<Activation> fused_activation(const Operation& operation) {
  if (operation.fused.empty()) return std::nullopt;
  const LayerParameter& follower = operation.fused.back()->param();
  const auto belongs_to_caller = [](const std::string& type) {
    return type == "BatchNorm" || type == "Scale" || type == "Eltwise";
  };
  for (size_t i = 0; i + 1 < operation.fused.size(); ++i) {
    if (!belongs_to_caller(operation.fused[i]->type())) throw Refusal{"fuses one activation only"};
  }
  if (operation.top.size() != 1) throw Refusal{"fuses only where there is one top"};
  if (belongs_to_caller(follower.type())) return std::nullopt;
  const std::optional<Activation> activation = activation_of(follower);
  if (!activation) throw Refusal{"fuses activations only, not this " + follower.type()};
  if (operation.backward && !(activation->from_output && activation->gradient != undef))
    throw Refusal{"the gradient of " + follower.type() + " needs its input, which is overwritten"};
  return activation;
}

void append_to(dnnl::post_ops* after, const Activation& activation) {
  after->append_eltwise(activation.forward, activation.alpha, activation.beta);
}

dnnl::primitive_attr attributes(const std::optional<Activation>& activation) {
  dnnl::primitive_attr attributes = strict_attributes();
  if (activation) {
    dnnl::post_ops after;
    append_to(&after, *activation);
    attributes.set_post_ops(after);
  }
  return attributes;
}

std::string suffix(const std::optional<Activation>& activation) {
  return activation ? "+" + activation->type : "";
}

dnnl::eltwise_forward::primitive_desc describe_forward(const Activation& activation,
                                                       const Desc& format, dnnl::prop_kind kind) {
  return dnnl::eltwise_forward::primitive_desc(cpu_engine(), kind, activation.forward, format,
                                               format, activation.alpha, activation.beta,
                                               strict_attributes());
}

dnnl::eltwise_backward::primitive_desc describe_gradient(
    const Activation& activation, const Desc& format,
    const dnnl::eltwise_forward::primitive_desc& forward) {
  return dnnl::eltwise_backward::primitive_desc(cpu_engine(), activation.gradient, format, format,
                                                format, activation.alpha, activation.beta, forward,
                                                strict_attributes());
}

Step activation_gradient(const Activation& activation, const Desc& format, Buffer& output,
                         Buffer& diff) {
  const auto forward = describe_forward(activation, format, dnnl::prop_kind::forward_training);
  Step step(describe_gradient(activation, format, forward));
  step.bind(reads_output(activation) ? DNNL_ARG_DST : DNNL_ARG_SRC, format, output, Access::kRead);
  step.bind(DNNL_ARG_DIFF_DST, format, diff, Access::kUpdate);
  step.bind(DNNL_ARG_DIFF_SRC, format, diff, Access::kUpdate);
  return step;
}

}  // namespace caffe::onednn

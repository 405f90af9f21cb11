#pragma once

#include <optional>
#include <string>

#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {

// An elementwise layer as oneDNN computes it.
struct Activation {
  std::string type;           // the layer's
  dnnl::algorithm forward;    // y(x)
  dnnl::algorithm gradient;   // undef where oneDNN's is not Caffe's
  float alpha = 0, beta = 0;  // oneDNN's parameters of both
  bool from_output = false;   // the gradient reads y, else x
};

// Whether oneDNN takes y as the operand of the gradient. (A line's gradient takes any.)
bool reads_output(const Activation& activation);

// None where oneDNN has no such function, or is no faster than a plain loop.
std::optional<Activation> activation_of(const LayerParameter& param);

// Types that a primitive may take along as its last layer (CAFFE_REGISTER_IMPLEMENTATION).
#define CAFFE_FUSED_ACTIVATIONS \
  "ReLU", "ReLU6", "ELU", "Sigmoid", "TanH", "Power", "Exp", "Swish", "Clip", "AbsVal", "BNLL"

// The activation that the operation takes along last; none if there is none. Before it may stand
// normalisations and a sum, which are the caller's. Refuses several, and gradients that need the
// input, which is overwritten.
std::optional<Activation> fused_activation(const Operation& operation);
void append_to(dnnl::post_ops* after, const Activation& activation);
// Attributes with which a primitive applies the activation to its output.
dnnl::primitive_attr attributes(const std::optional<Activation>& activation);
// "+ReLU"; empty if there is none.
std::string suffix(const std::optional<Activation>& activation);
// Its backward step, from the output's diff in place.
Step activation_gradient(const Activation& activation, const Desc& format, Buffer& output,
                         Buffer& diff);

// Descriptions of the two passes by themselves.
dnnl::eltwise_forward::primitive_desc describe_forward(const Activation& activation,
                                                       const Desc& format, dnnl::prop_kind kind);
dnnl::eltwise_backward::primitive_desc describe_gradient(
    const Activation& activation, const Desc& format,
    const dnnl::eltwise_forward::primitive_desc& forward);

}  // namespace caffe::onednn

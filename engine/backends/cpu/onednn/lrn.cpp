#include <optional>

#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {
namespace {

using Forward = dnnl::lrn_forward::primitive_desc;
using Backward = dnnl::lrn_backward::primitive_desc;

// oneDNN's formula is Caffe's: alpha is divided by the window's size.
class Lrn : public DnnlImplementation {
 public:
  explicit Lrn(const Operation& operation)
      : format_(format(operation)), forward_pd_(describe_forward(operation)), forward_(forward_pd_) {
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    Blob& bottom = *operation.bottom[0];
    Blob& top = *operation.top[0];
    details_ = describe(forward_pd_, format_, format_);
    forward_.bind(DNNL_ARG_SRC, format_, bottom.data(), Access::kRead);
    forward_.bind(DNNL_ARG_DST, format_, top.data(), Access::kWrite);
    const Desc workspace = forward_pd_.workspace_desc();
    void* kept = nullptr;
    if (operation.backward && workspace.get_size() > 0) {
      kept = layer_workspace(*operation.layer, workspace.get_size());
      forward_.bind(DNNL_ARG_WORKSPACE, workspace, kept);
    }
    if (!propagates_down(operation, 0)) return;
    const LRNParameter& param = operation.param().lrn_param();
    const Backward pd(cpu_engine(), dnnl::algorithm::lrn_across_channels, format_, format_, format_,
                      param.local_size(), param.alpha(), param.beta(), param.k(), forward_pd_,
                      strict_attributes());
    backward_.emplace(pd);
    backward_->bind(DNNL_ARG_SRC, format_, bottom.data(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_DST, format_, top.diff(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_SRC, format_, bottom.diff(), Access::kWrite);
    if (kept) backward_->bind(DNNL_ARG_WORKSPACE, workspace, kept);
  }

  void forward() override { forward_.run(); }
  void backward() override {
    if (backward_) backward_->run();
  }

 private:
  static Desc format(const Operation& operation) {
    require_no_fusion(operation);
    if (operation.param().lrn_param().norm_region() != LRNParameter::ACROSS_CHANNELS)
      throw Refusal{"only ACROSS_CHANNELS"};
    const Blob& bottom = *operation.bottom[0];
    return planned_format(bottom.data(), dims_of(bottom.shape()));
  }

  Forward describe_forward(const Operation& operation) const {
    const LRNParameter& param = operation.param().lrn_param();
    return Forward(cpu_engine(), forward_kind(operation), dnnl::algorithm::lrn_across_channels,
                   format_, format_, param.local_size(), param.alpha(), param.beta(), param.k(),
                   strict_attributes());
  }

  Desc format_;
  Forward forward_pd_;
  Step forward_;
  std::optional<Step> backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(LRN, onednn, make<Lrn>);

}  // namespace
}  // namespace caffe::onednn

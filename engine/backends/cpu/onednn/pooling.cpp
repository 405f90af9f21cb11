#include <algorithm>
#include <optional>

#include "backends/cpu/onednn/primitive.h"
#include "layers/pooling_window.h"

namespace caffe::onednn {
namespace {

using Forward = dnnl::pooling_forward::primitive_desc;
using Backward = dnnl::pooling_backward::primitive_desc;

// As oneDNN wants it told; dilation 0 is dense.
struct Window {
  Dims kernel, stride, dilation, pad_before, pad_after;
};

// With as much padding after the image as the size of the top asks for.
Window padded_window(const Operation& operation) {
  const PoolingWindow pooling =
      pooling_window(operation.param().pooling_param(), operation.bottom[0]->shape());
  Window window;
  for (const PoolingAxis& axis : {pooling.h, pooling.w}) {
    const int64_t last = (axis.output - 1) * axis.stride - axis.pad;
    if (last >= axis.image) throw Refusal{"a window lies outside of the image"};
    window.kernel.push_back(axis.kernel);
    window.stride.push_back(axis.stride);
    window.dilation.push_back(0);
    window.pad_before.push_back(axis.pad);
    window.pad_after.push_back(std::max<int64_t>(last + axis.kernel - axis.image, 0));
  }
  return window;
}

// Caffe divides an average by the size of the window clipped to the padded image.
dnnl::algorithm average(const Window& window) {
  bool padded = false, hangs_over = false;
  for (size_t i = 0; i < 2; ++i) {
    padded |= window.pad_before[i] > 0;
    hangs_over |= window.pad_after[i] > window.pad_before[i];
  }
  if (!hangs_over) return dnnl::algorithm::pooling_avg_include_padding;
  if (!padded) return dnnl::algorithm::pooling_avg_exclude_padding;
  throw Refusal{"oneDNN divides averages of clipped, padded windows by another number"};
}

dnnl::algorithm algorithm(const Operation& operation, const Window& window) {
  const PoolingParameter& param = operation.param().pooling_param();
  if (param.pool() == PoolingParameter_PoolMethod_AVE) return average(window);
  if (param.pool() != PoolingParameter_PoolMethod_MAX) throw Refusal{"only MAX and AVE"};
  return dnnl::algorithm::pooling_max;
}

Desc source_format(const Operation& operation) {
  const Blob& bottom = *operation.bottom[0];
  if (bottom.shape().axes() != 4) throw Refusal{"only 4-D"};
  if (operation.top.size() > 1) throw Refusal{"no mask top"};
  if (&bottom.data() == &operation.top[0]->data()) throw Refusal{"cannot work in place"};
  return planned_format(bottom.data(), dims_of(bottom.shape()));
}

class Pooling : public DnnlImplementation {
 public:
  explicit Pooling(const Operation& operation)
      : source_(source_format(operation)),
        top_(dims_of(operation.top[0]->shape())),
        window_(padded_window(operation)),
        algorithm_(algorithm(operation, window_)),
        forward_pd_(cpu_engine(), forward_kind(operation), algorithm_, source_,
                    any_format(top_, source_.get_data_type()), window_.stride, window_.kernel,
                    window_.dilation, window_.pad_before, window_.pad_after, strict_attributes()),
        forward_(forward_pd_) {
    require_no_fusion(operation);
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    const Desc destination = forward_pd_.dst_desc();
    details_ = describe(forward_pd_, source_, destination);
    forward_.bind(DNNL_ARG_SRC, source_, operation.bottom[0]->data(), Access::kRead);
    forward_.bind(DNNL_ARG_DST, destination, operation.top[0]->data(), Access::kWrite);
    const Desc workspace = forward_pd_.workspace_desc();
    if (operation.backward && workspace.get_size() > 0) {
      workspace_ = layer_workspace(*operation.layer, workspace.get_size());
      forward_.bind(DNNL_ARG_WORKSPACE, workspace, workspace_);
    }
    if (!propagates_down(operation, 0)) return;
    const Backward pd(cpu_engine(), algorithm_, source_, destination, window_.stride,
                      window_.kernel, window_.dilation, window_.pad_before, window_.pad_after,
                      forward_pd_, strict_attributes());
    backward_.emplace(pd);
    backward_->bind(DNNL_ARG_DIFF_DST, destination, operation.top[0]->diff(), Access::kRead);
    backward_->bind(DNNL_ARG_DIFF_SRC, source_, operation.bottom[0]->diff(), Access::kWrite);
    if (workspace_) backward_->bind(DNNL_ARG_WORKSPACE, workspace, workspace_);
  }

  void forward() override { forward_.run(); }
  void backward() override {
    if (backward_) backward_->run();
  }
  BufferUses forward_uses() const override { return uses_of({&forward_}); }
  BufferUses backward_uses() const override { return uses_of({pointer_to(backward_)}); }

 private:
  Desc source_;
  Dims top_;
  Window window_;
  dnnl::algorithm algorithm_;
  Forward forward_pd_;
  Step forward_;
  void* workspace_ = nullptr;
  std::optional<Step> backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(Pooling, onednn, make<Pooling>);

}  // namespace
}  // namespace caffe::onednn

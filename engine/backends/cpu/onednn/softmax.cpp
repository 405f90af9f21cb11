#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {
namespace {

constexpr auto kAccurate = dnnl::algorithm::softmax_accurate;
constexpr int kAxis = 1;

// On plain arrays, seen as outer x classes x inner.
class Softmax : public DnnlImplementation {
 public:
  explicit Softmax(const Operation& operation)
      : format_(format(operation)),
        forward_pd_(cpu_engine(), forward_kind(operation), kAccurate, format_, format_, kAxis,
                    strict_attributes()),
        forward_(forward_pd_) {
    require_no_fusion(operation);
    if (is_reference(forward_pd_)) throw Refusal{"oneDNN has no fast kernel for this shape"};
    Blob& bottom = *operation.bottom[0];
    Blob& top = *operation.top[0];
    bind_in_out(forward_, DNNL_ARG_SRC, format_, bottom.data(), DNNL_ARG_DST, format_, top.data());
    details_ = describe(forward_pd_, format_, format_);
    if (!propagates_down(operation, 0)) return;
    const dnnl::softmax_backward::primitive_desc pd(cpu_engine(), kAccurate, format_, format_,
                                                    format_, kAxis, forward_pd_,
                                                    strict_attributes());
    backward_.emplace(pd);
    backward_->bind(DNNL_ARG_DST, format_, top.data(), Access::kRead);
    bind_in_out(*backward_, DNNL_ARG_DIFF_DST, format_, top.diff(), DNNL_ARG_DIFF_SRC, format_,
                bottom.diff());
  }

  void forward() override { forward_.run(); }
  void backward() override {
    if (backward_) backward_->run();
  }
  BufferUses forward_uses() const override { return uses_of({&forward_}); }
  BufferUses backward_uses() const override { return uses_of({pointer_to(backward_)}); }

 private:
  static Desc format(const Operation& operation) {
    const Shape& shape = operation.bottom[0]->shape();
    const int axis = shape.canonical_axis(operation.param().softmax_param().axis());
    const int64_t outer = shape.count(0, axis), inner = shape.count(axis + 1);
    return row_major(inner == 1 ? Dims{outer, shape[axis]} : Dims{outer, shape[axis], inner});
  }

  Desc format_;
  dnnl::softmax_forward::primitive_desc forward_pd_;
  Step forward_;
  std::optional<Step> backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(Softmax, onednn, make<Softmax>);

}  // namespace
}  // namespace caffe::onednn

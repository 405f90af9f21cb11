#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {
namespace {

constexpr auto kRelu = dnnl::algorithm::eltwise_relu;

// In whatever format the bottom comes. The gradient at 0 is negative_slope's, as in the portable
// code.
class Relu : public DnnlImplementation {
 public:
  explicit Relu(const Operation& operation)
      : format_(format(operation)),
        slope_(operation.param().relu_param().negative_slope()),
        forward_pd_(cpu_engine(), forward_kind(operation), kRelu, format_, format_, slope_, 0.f,
                    strict_attributes()),
        forward_(forward_pd_) {
    require_no_fusion(operation);
    Blob& bottom = *operation.bottom[0];
    Blob& top = *operation.top[0];
    bind_in_out(forward_, DNNL_ARG_SRC, format_, bottom.data(), DNNL_ARG_DST, format_, top.data());
    details_ = describe(forward_pd_, format_, format_);
    if (!propagates_down(operation, 0)) return;
    const dnnl::eltwise_backward::primitive_desc pd(cpu_engine(), kRelu, format_, format_, format_,
                                                    slope_, 0.f, forward_pd_, strict_attributes());
    backward_.emplace_back(pd);
    backward_[0].bind(DNNL_ARG_SRC, format_, bottom.data(), Access::kRead);
    bind_in_out(backward_[0], DNNL_ARG_DIFF_DST, format_, top.diff(), DNNL_ARG_DIFF_SRC, format_,
                bottom.diff());
  }

  void forward() override { forward_.run(); }
  void backward() override {
    for (Step& step : backward_) step.run();
  }

 private:
  static Desc format(const Operation& operation) {
    const Blob& bottom = *operation.bottom[0];
    const Desc planned = planned_format(bottom.data(), dims_of(bottom.shape()));
    return is_row_major(planned) ? row_major({bottom.count()}) : planned;
  }

  Desc format_;
  float slope_;
  dnnl::eltwise_forward::primitive_desc forward_pd_;
  Step forward_;
  std::vector<Step> backward_;
};

CAFFE_REGISTER_IMPLEMENTATION(ReLU, onednn, make<Relu>);

}  // namespace
}  // namespace caffe::onednn

#include "layers/elementwise.h"

#include "backends/cpu/onednn/activation.h"
#include "backends/cpu/onednn/gradient_operand.h"

namespace caffe::onednn {
namespace {

// In whatever format the bottom comes; a plain one is seen as a row of numbers.
Desc format_of(const Operation& operation) {
  const Blob& bottom = *operation.bottom[0];
  const Desc planned = planned_format(bottom.data(), dims_of(bottom.shape()));
  return is_plain(planned) ? row_major({bottom.count()}) : planned;
}

// By oneDNN's kernels.
class Elementwise : public DnnlImplementation {
 public:
  Elementwise(const Operation& operation, const Activation& activation)
      : format_(format_of(operation)),
        forward_pd_(describe_forward(activation, format_, forward_kind(operation))),
        forward_(forward_pd_) {
    Blob& bottom = *operation.bottom[0];
    Blob& top = *operation.top[0];
    bind_in_out(forward_, DNNL_ARG_SRC, format_, bottom.data(), DNNL_ARG_DST, format_, top.data());
    details_ = describe(forward_pd_, format_, format_);
    if (!propagates_down(operation, 0)) return;
    const auto pd = describe_gradient(activation, format_, forward_pd_);
    operand_.emplace(operation, format_, activation.from_output);
    backward_.emplace(pd);
    backward_->bind(reads_output(activation) ? DNNL_ARG_DST : DNNL_ARG_SRC, format_,
                    operand_->buffer(), Access::kRead);
    bind_in_out(*backward_, DNNL_ARG_DIFF_DST, format_, top.diff(), DNNL_ARG_DIFF_SRC, format_,
                bottom.diff());
  }

  void forward() override {
    if (operand_) operand_->keep();
    forward_.run();
  }
  void backward() override {
    if (backward_) backward_->run();
  }
  BufferUses forward_uses() const override {
    BufferUses uses;
    if (operand_) operand_->add_keep_uses(&uses);
    forward_.add_uses(&uses);
    return uses;
  }
  BufferUses backward_uses() const override { return uses_of({pointer_to(backward_)}); }

 private:
  Desc format_;
  dnnl::eltwise_forward::primitive_desc forward_pd_;
  Step forward_;
  std::optional<GradientOperand> operand_;
  std::optional<Step> backward_;
};

// By the layer's own functions, where oneDNN has none: they do not care in which order the numbers
// lie.
class MappedElementwise : public DnnlImplementation {
 public:
  explicit MappedElementwise(const Operation& operation)
      : map_(dynamic_cast<const ElementwiseMap&>(*operation.layer)),
        format_(as_float(format_of(operation))),
        elements_(elements(format_)),
        in_place_(operation.top[0] == operation.bottom[0]),
        bottom_(operation.bottom[0]),
        top_(operation.top[0]) {
    if (is_plain(format_)) throw Refusal{"oneDNN has no such function"};
    if (!keeps_padding()) throw Refusal{"the padding of a blocked layout would not stay zero"};
    data_representation_ = bottom_->data().representation(layout_of(format_));
    top_representation_ = top_->data().representation(layout_of(format_));
    details_ = "the layer's functions on " + format_name(format_);
    if (!propagates_down(operation, 0)) return;
    operand_.emplace(operation, format_, map_.gradient_from_output());
    operand_representation_ = operand_->buffer().representation(layout_of(format_));
    bottom_diff_representation_ = bottom_->diff().representation(layout_of(format_));
    top_diff_representation_ = top_->diff().representation(layout_of(format_));
  }

  void forward() override {
    if (operand_) operand_->keep();
    const void* x = bottom_->data().read(data_representation_);
    void* y = in_place_ ? bottom_->data().update(data_representation_)
                        : top_->data().write(top_representation_);
    map_.map(elements_, static_cast<const float*>(x), static_cast<float*>(y));
  }

  void backward() override {
    if (!operand_) return;
    const void* v = operand_->buffer().read(operand_representation_);
    const void* dy = top_->diff().read(top_diff_representation_);
    void* dx = in_place_ ? bottom_->diff().update(bottom_diff_representation_)
                         : bottom_->diff().write(bottom_diff_representation_);
    map_.map_gradient(elements_, static_cast<const float*>(v), static_cast<const float*>(dy),
                      static_cast<float*>(dx));
  }

  BufferUses forward_uses() const override {
    BufferUses uses;
    if (operand_) operand_->add_keep_uses(&uses);
    uses.push_back({&bottom_->data(), data_representation_, Access::kRead});
    uses.push_back({&top_->data(), in_place_ ? data_representation_ : top_representation_,
                    in_place_ ? Access::kUpdate : Access::kWrite});
    return uses;
  }
  BufferUses backward_uses() const override {
    if (!operand_) return {};
    return {operand_->use(),
            {&top_->diff(), top_diff_representation_, Access::kRead},
            {&bottom_->diff(), bottom_diff_representation_,
             in_place_ ? Access::kUpdate : Access::kWrite}};
  }

 private:
  // Other primitives count on zeros there.
  bool keeps_padding() const {
    if (format_.get_padded_dims() == format_.get_dims()) return true;
    const float zero = 0;
    float value = 0, gradient = 0;
    map_.map(1, &zero, &value);
    map_.map_gradient(1, &zero, &zero, &gradient);
    return value == 0 && gradient == 0;
  }

  const ElementwiseMap& map_;
  Desc format_;
  int64_t elements_;
  bool in_place_;
  Blob* bottom_;
  Blob* top_;
  int data_representation_ = 0, top_representation_ = 0, operand_representation_ = 0;
  int bottom_diff_representation_ = 0, top_diff_representation_ = 0;
  std::optional<GradientOperand> operand_;
};

std::unique_ptr<Implementation> make_elementwise(const Operation& operation) {
  try {
    require_supported(operation);
    require_no_fusion(operation);
    const std::optional<Activation> activation = activation_of(operation.param());
    const bool suits = activation && (activation->gradient != dnnl::algorithm::undef ||
                                      !propagates_down(operation, 0));
    if (suits) return std::make_unique<Elementwise>(operation, *activation);
    return std::make_unique<MappedElementwise>(operation);
  } catch (const dnnl::error& error) {
    throw Refusal{std::string("oneDNN: ") + error.what()};
  }
}

CAFFE_REGISTER_IMPLEMENTATION(AbsVal, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(BNLL, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Clip, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(ELU, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Exp, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Log, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Power, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(ReLU, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(ReLU6, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Sigmoid, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Swish, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(TanH, onednn, make_elementwise);
CAFFE_REGISTER_IMPLEMENTATION(Threshold, onednn, make_elementwise);

}  // namespace
}  // namespace caffe::onednn

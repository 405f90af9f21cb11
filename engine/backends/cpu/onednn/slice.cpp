#include "backends/cpu/onednn/parts.h"

namespace caffe::onednn {
namespace {

int axis(const Operation& operation) {
  const SliceParameter& param = operation.param().slice_param();
  if (operation.top.size() == 1) throw Refusal{"one top shares its memory with the bottom"};
  return operation.bottom[0]->shape().canonical_axis(
      param.has_slice_dim() ? static_cast<int>(param.slice_dim()) : param.axis());
}

// The bottom cut along an axis, in its own layout.
class Slice : public DnnlImplementation {
 public:
  explicit Slice(const Operation& operation)
      : parts_(*operation.bottom[0], operation.top, axis(operation), operation.bottom),
        bottom_(operation.bottom[0]->data(), parts_.whole()),
        bottom_diff_(operation.bottom[0]->diff(), parts_.whole()),
        wanted_(propagates_down(operation, 0)) {
    details_ = "copies " + format_name(parts_.whole());
    int64_t offset = 0;
    for (size_t i = 0; i < operation.top.size(); ++i) {
      const Blob& top = *operation.top[i];
      top_.push_back(
          {Array(top.data(), parts_.part(i)), Array(top.diff(), parts_.part(i)), offset});
      offset += parts_.width(i);
    }
  }

  void forward() override {
    const void* x = bottom_.read<void>();
    for (size_t i = 0; i < top_.size(); ++i) {
      parts_.extract(x, top_[i].data.write<void>(), i, top_[i].offset);
    }
  }

  void backward() override {
    if (!wanted_) return;
    void* dx = bottom_diff_.write<void>();
    for (size_t i = 0; i < top_.size(); ++i) {
      parts_.insert(top_[i].diff.read<void>(), dx, i, top_[i].offset);
    }
  }

  BufferUses forward_uses() const override {
    BufferUses uses = {bottom_.use(Access::kRead)};
    for (const Top& top : top_) uses.push_back(top.data.use(Access::kWrite));
    return uses;
  }
  BufferUses backward_uses() const override {
    if (!wanted_) return {};
    BufferUses uses = {bottom_diff_.use(Access::kWrite)};
    for (const Top& top : top_) uses.push_back(top.diff.use(Access::kRead));
    return uses;
  }

 private:
  struct Top {
    Array data, diff;
    int64_t offset;
  };
  Parts parts_;
  Array bottom_, bottom_diff_;
  std::vector<Top> top_;
  bool wanted_;
};

CAFFE_REGISTER_IMPLEMENTATION(Slice, onednn, make<Slice>);

}  // namespace
}  // namespace caffe::onednn

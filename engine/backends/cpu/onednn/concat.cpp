#include "backends/cpu/onednn/parts.h"

namespace caffe::onednn {
namespace {

int axis(const Operation& operation) {
  const ConcatParameter& param = operation.param().concat_param();
  if (operation.bottom.size() == 1) throw Refusal{"one bottom shares its memory with the top"};
  return operation.bottom[0]->shape().canonical_axis(
      param.has_concat_dim() ? static_cast<int>(param.concat_dim()) : param.axis());
}

// The bottoms one after another, in their own layout.
class Concat : public DnnlImplementation {
 public:
  explicit Concat(const Operation& operation)
      : parts_(*operation.top[0], operation.bottom, axis(operation), operation.bottom),
        top_(operation.top[0]->data(), parts_.whole()),
        top_diff_(operation.top[0]->diff(), parts_.whole()) {
    details_ = "copies " + format_name(parts_.whole());
    int64_t offset = 0;
    for (size_t i = 0; i < operation.bottom.size(); ++i) {
      const Blob& bottom = *operation.bottom[i];
      bottom_.push_back({Array(bottom.data(), parts_.part(i)), Array(bottom.diff(), parts_.part(i)),
                         offset, propagates_down(operation, i)});
      offset += parts_.width(i);
    }
  }

  void forward() override {
    void* y = top_.write<void>();
    for (size_t i = 0; i < bottom_.size(); ++i) {
      parts_.insert(bottom_[i].data.read<void>(), y, i, bottom_[i].offset);
    }
  }

  void backward() override {
    const void* dy = top_diff_.read<void>();
    for (size_t i = 0; i < bottom_.size(); ++i) {
      if (bottom_[i].wanted)
        parts_.extract(dy, bottom_[i].diff.write<void>(), i, bottom_[i].offset);
    }
  }

  BufferUses forward_uses() const override {
    BufferUses uses = {top_.use(Access::kWrite)};
    for (const Bottom& bottom : bottom_) uses.push_back(bottom.data.use(Access::kRead));
    return uses;
  }
  BufferUses backward_uses() const override {
    BufferUses uses = {top_diff_.use(Access::kRead)};
    for (const Bottom& bottom : bottom_) {
      if (bottom.wanted) uses.push_back(bottom.diff.use(Access::kWrite));
    }
    return uses;
  }

 private:
  struct Bottom {
    Array data, diff;
    int64_t offset;
    bool wanted;
  };
  Parts parts_;
  Array top_, top_diff_;
  std::vector<Bottom> bottom_;
};

CAFFE_REGISTER_IMPLEMENTATION(Concat, onednn, make<Concat>);

}  // namespace
}  // namespace caffe::onednn

#include "backends/cpu/onednn/gradient_operand.h"

#include "kernels/for_each.h"

namespace caffe::onednn {

GradientOperand::GradientOperand(const Operation& operation, const Desc& format, bool from_output)
    : bytes_(format.get_size()),
      read_(from_output ? &operation.top[0]->data() : &operation.bottom[0]->data()),
      read_representation_(read_->representation(layout_of(format))) {
  if (from_output || operation.top[0] != operation.bottom[0]) return;
  kept_ = &operation.layer->kept_input(operation.bottom[0]->count());
  kept_representation_ = kept_->representation(layout_of(format));
}

void GradientOperand::keep() {
  if (kept_ == nullptr) return;
  const auto* from = static_cast<const char*>(read_->read(read_representation_));
  auto* to = static_cast<char*>(kept_->write(kept_representation_));
  for_each(static_cast<int64_t>(bytes_), [=](int64_t i) { to[i] = from[i]; });
}

void GradientOperand::add_keep_uses(BufferUses* uses) const {
  if (kept_ == nullptr) return;
  uses->push_back({read_, read_representation_, Access::kRead});
  uses->push_back({kept_, kept_representation_, Access::kWrite});
}

BufferUse GradientOperand::use() const {
  return kept_ != nullptr ? BufferUse{kept_, kept_representation_, Access::kRead}
                          : BufferUse{read_, read_representation_, Access::kRead};
}

}  // namespace caffe::onednn

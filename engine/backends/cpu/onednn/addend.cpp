#include "backends/cpu/onednn/addend.h"

#include <algorithm>
#include <cstddef>

#include "kernels/for_each.h"

namespace caffe::onednn {

std::optional<Addend> Addend::find(const Operation& operation) {
  const auto sum = std::find_if(operation.fused.begin(), operation.fused.end(),
                                [](const Layer* layer) { return layer->type() == "Eltwise"; });
  if (sum == operation.fused.end()) return std::nullopt;
  if (operation.joined.size() != 1) throw Refusal{"fuses sums of two only"};
  const EltwiseParameter& param = (*sum)->param().eltwise_param();
  const bool plain = std::all_of(param.coeff().begin(), param.coeff().end(),
                                 [](float factor) { return factor == 1; });
  if (param.operation() != EltwiseParameter::SUM || !plain)
    throw Refusal{"fuses an Eltwise only where it is a sum without coefficients"};
  return Addend(operation.joined[0]);
}

void Addend::bind(const Operation& operation, const Desc& destination) {
  from_.emplace(blob_->data(), destination);
  to_.emplace(operation.top[0]->data(), destination);
  bytes_ = static_cast<int64_t>(destination.get_size());
  in_place_ = &from_->buffer() == &to_->buffer();
  // What the primitive reads while it writes cannot be overwritten.
  inherits_ = !in_place_ && &from_->buffer() != &operation.bottom[0]->data();
}

void Addend::place() const {
  const std::byte* const from = from_->read<std::byte>();
  std::byte* const to = to_->write<std::byte>();
  if (to == from) return;
  for_each_piece(
      bytes_, [=](int64_t begin, int64_t end) { std::copy(from + begin, from + end, to + begin); });
}

BufferUses Addend::uses() const {
  if (in_place_) return {to_->use(Access::kUpdate)};
  return {from_->use(Access::kRead),
          inherits_ ? to_->write_instead_of(*from_) : to_->use(Access::kWrite)};
}

}  // namespace caffe::onednn

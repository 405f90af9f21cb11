#pragma once

#include <optional>
#include <string>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {

// What a primitive adds to its result for a sum (Eltwise) that it takes along: the sum's other
// bottom. oneDNN adds (post_ops::append_sum) to what lies in the destination. So the destination
// gets the memory of the addend where nobody needs that later, else a copy of it.
class Addend {
 public:
  // None if the operation takes no Eltwise along; refuses one that is not a plain sum of two.
  static std::optional<Addend> find(const Operation& operation);

  // The primitive's first bottom and top, and the format that it writes.
  void bind(const Operation& operation, const Desc& destination);
  // Before the primitive, which updates its destination.
  void place() const;
  BufferUses uses() const;

 private:
  explicit Addend(Blob* blob) : blob_(blob) {}

  Blob* blob_;
  std::optional<Array> from_, to_;
  size_t bytes_ = 0;
  bool inherits_ = false;  // the destination may lie where the addend does
};

}  // namespace caffe::onednn

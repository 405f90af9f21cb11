#pragma once

#include <optional>

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

  // Binds to the operation's top, in the format that the primitive writes. It reads bottom 0.
  void bind(const Operation& operation, const Desc& destination);
  // Brings the addend to the destination; to be called before each run of the primitive, which is
  // bound to the destination as if it overwrote that.
  void place() const;
  BufferUses uses() const;

 private:
  explicit Addend(Blob* blob) : blob_(blob) {}

  Blob* blob_;
  std::optional<Array> from_, to_;
  int64_t bytes_ = 0;
  bool in_place_ = false;  // the addend is the destination
  bool inherits_ = false;  // the destination may get the addend's memory
};

}  // namespace caffe::onednn

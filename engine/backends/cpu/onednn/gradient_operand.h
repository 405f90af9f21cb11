#pragma once

#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {

// What the gradient of an elementwise operation reads: its output, its input, or a copy of an input
// that the operation overwrites.
class GradientOperand {
 public:
  GradientOperand(const Operation& operation, const Desc& format, bool from_output);
  // Before the forward pass.
  void keep();
  Buffer& buffer() const { return kept_ != nullptr ? *kept_ : *read_; }
  // What keep() touches, and what backward reads.
  void add_keep_uses(BufferUses* uses) const;
  BufferUse use() const;

 private:
  size_t bytes_;
  Buffer* read_;
  int read_representation_;
  Buffer* kept_ = nullptr;
  int kept_representation_ = 0;
};

}  // namespace caffe::onednn

#pragma once

#include <optional>
#include <vector>

#include "backends/cpu/onednn/dnnl_layout.h"
#include "core/bf16.h"
#include "core/blob.h"
#include "layers/operation.h"

namespace caffe::onednn {

// A buffer in one of its formats, as what our own kernels work on: numbers one after another, the
// padding of blocked formats included.
class Array {
 public:
  Array(Buffer& buffer, const Desc& format)
      : buffer_(&buffer), index_(buffer.representation(layout_of(format))) {}

  // T: float, BF16, or void where the type does not matter.
  template <typename T = float>
  const T* read() const {
    return static_cast<const T*>(buffer_->read(index_));
  }
  template <typename T = float>
  T* write() const {
    return static_cast<T*>(buffer_->write(index_));
  }
  template <typename T = float>
  T* update() const {
    return static_cast<T*>(buffer_->update(index_));
  }
  void take(const Array& other, bool exchanges_lent = false) const {
    buffer_->take(index_, other.buffer_, other.index_, exchanges_lent);
  }
  bool lies_with(const Array& other) const {
    return buffer_->lies_with(index_, *other.buffer_, other.index_);
  }
  bool lent() const { return buffer_->lent(index_); }
  BufferUse use(Access access) const { return {buffer_, index_, access}; }
  // Written, perhaps in the memory of `other`, which is needed no longer.
  BufferUse write_instead_of(const Array& other) const {
    return {buffer_, index_, Access::kWrite, other.buffer_, other.index_};
  }
  Buffer& buffer() const { return *buffer_; }
  int index() const { return index_; }

 private:
  Buffer* buffer_;
  int index_;
};

// work(a number of the type that the format has).
template <typename Work>
void with_number(const Desc& format, const Work& work) {
  if (format.get_data_type() == NumberType::bf16) {
    work(BF16());
  } else {
    work(float());
  }
}

// The format for work on single elements of blobs of one shape: the first that somebody planned for
// one of them; else plain, seen as one axis.
inline Desc elementwise_format(const Blobs& blobs) {
  for (const Blob* blob : blobs) {
    const Desc planned = planned_format(blob->data(), dims_of(blob->shape()));
    if (!is_plain(planned)) return planned;
  }
  return row_major({blobs[0]->count()});
}

}  // namespace caffe::onednn

#pragma once

#include <memory>
#include <vector>

#include "core/buffer.h"
#include "core/shape.h"

namespace caffe {

// What flows between layers: an N-D array of values (data) and one of their gradients (diff), of
// one shape. Blobs may share buffers (in-place layers, Reshape, Flatten, shared parameters). Memory
// is allocated on first use.
class Blob {
 public:
  explicit Blob(DType type = DType::kF32)
      : data_(std::make_shared<Buffer>(type)), diff_(std::make_shared<Buffer>(type)) {}
  explicit Blob(const Shape& shape, DType type = DType::kF32) : Blob(type) { reshape(shape); }

  const Shape& shape() const { return shape_; }
  int64_t shape(int axis) const { return shape_[shape_.canonical_axis(axis)]; }
  int64_t count() const { return shape_.count(); }
  DType dtype() const { return data_->dtype(); }

  // Content is kept only where the number of elements stays the same.
  void reshape(const Shape& shape) {
    shape_ = shape;
    data_->resize(shape.count());
    diff_->resize(shape.count());
  }

  Buffer& data() const { return *data_; }
  Buffer& diff() const { return *diff_; }
  const std::shared_ptr<Buffer>& data_buffer() const { return data_; }
  const std::shared_ptr<Buffer>& diff_buffer() const { return diff_; }

  // From now on the other blob's buffers are this one's too. The counts must agree.
  void share_data(const Blob& other) { data_ = shared(other.data_); }
  void share_diff(const Blob& other) { diff_ = shared(other.diff_); }

  // Plain arrays, row-major, count() elements.
  template <typename T>
  const T* data_as() const {  // to read
    return static_cast<const T*>(typed<T>(*data_).read());
  }
  template <typename T>
  T* overwrite_data() const {  // to overwrite all of it
    return static_cast<T*>(typed<T>(*data_).write());
  }
  template <typename T>
  T* update_data() const {  // to change some of it
    return static_cast<T*>(typed<T>(*data_).update());
  }
  template <typename T>
  const T* diff_as() const {
    return static_cast<const T*>(typed<T>(*diff_).read());
  }
  template <typename T>
  T* overwrite_diff() const {
    return static_cast<T*>(typed<T>(*diff_).write());
  }
  template <typename T>
  T* update_diff() const {  // to add to it, as parameters' gradients do
    return static_cast<T*>(typed<T>(*diff_).update());
  }

 private:
  template <typename T>
  static Buffer& typed(Buffer& buffer) {
    CAFFE_REQUIRE_CODE(buffer.dtype() == dtype_of<T>(), ErrorCode::kInternal,
                       "a blob was read in the wrong precision");
    return buffer;
  }
  const std::shared_ptr<Buffer>& shared(const std::shared_ptr<Buffer>& other) const {
    CAFFE_REQUIRE_CODE(other->count() == count(), ErrorCode::kInternal, "blobs of ", count(),
                       " and ", other->count(), " elements cannot share memory");
    return other;
  }

  Shape shape_;
  std::shared_ptr<Buffer> data_;
  std::shared_ptr<Buffer> diff_;
};

using Blobs = std::vector<Blob*>;

}  // namespace caffe

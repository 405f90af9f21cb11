#pragma once

#include <cstddef>
#include <memory>

#include "core/buffer.h"

namespace caffe {

// Memory in which a net keeps what nobody needs between its passes. Nets that do not run at the
// same time may share one.
class Arena {
 public:
  // Makes it at least `bytes` long and gives it to `user`. What was in it may be lost.
  void* reserve(size_t bytes, const void* user) {
    user_ = user;
    if (bytes == 0) return nullptr;
    if (!storage_ || storage_->bytes() < bytes) {
      storage_.reset();
      storage_ = std::make_unique<Storage>(bytes);
    }
    return storage_->data();
  }
  // Who reserved it last.
  const void* user() const { return user_; }
  size_t bytes() const { return storage_ ? storage_->bytes() : 0; }

 private:
  std::unique_ptr<Storage> storage_;
  const void* user_ = nullptr;
};

}  // namespace caffe

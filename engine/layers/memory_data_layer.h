#pragma once

#include "layers/layer.h"

namespace caffe {

// Gives batches of arrays that a program holds: data (batch_size x channels x height x width) and
// label (batch_size x 1 x 1 x 1).
class MemoryDataLayer : public PortableLayer<MemoryDataLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::exactly(2); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs& bottom, const Blobs& top) override;
  void reshape(const Blobs& bottom, const Blobs& top) override;

  // From the next forward pass on, batches are taken from here, from the first record on and round
  // again. `data` holds n records of channels x height x width numbers, `labels` n numbers; both
  // are only pointed to and must live on. n must be a multiple of batch_size.
  void set_arrays(const float* data, const float* labels, int64_t n);

  int64_t batch_size() const { return batch_.legacy(0); }
  // Shape of one batch of data.
  const Shape& batch_shape() const { return batch_; }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top);

 private:
  Shape batch_;
  const float* data_ = nullptr;
  const float* labels_ = nullptr;
  int64_t records_ = 0;
  int64_t next_ = 0;
};

}  // namespace caffe

#pragma once

#include <optional>

#include "layers/layer.h"
#include "layers/row_batches.h"

namespace caffe {

// Gives batches of data (batch_size x channels x height x width) and labels: of arrays that a
// program holds (labels are then batch_size x 1 x 1 x 1), or, where `source` names a file of rows
// or the net is fed with such files, of rows (labels are batch_size, or batch_size x label_size;
// their top may be left out). A `source` beside a source_class is Spark's, not the engine's.
class MemoryDataLayer : public PortableLayer<MemoryDataLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return reads_rows() ? Arity::between(1, 2) : Arity::exactly(2); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs& bottom, const Blobs& top) override;
  void reshape(const Blobs& bottom, const Blobs& top) override;
  void prepare(const Blobs& top) override;
  void cancel() override;
  std::optional<std::vector<std::string>> record_keys() const override;
  int64_t read_rows(const std::string& path) override;

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
  bool reads_rows() const;
  void set_up_rows(size_t tops);

  Shape batch_;
  std::optional<RowBatches> rows_;
  const float* data_ = nullptr;
  const float* labels_ = nullptr;
  int64_t records_ = 0;
  int64_t next_ = 0;
};

}  // namespace caffe

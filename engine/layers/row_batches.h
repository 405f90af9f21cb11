#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/batch_loader.h"
#include "data/row_samples.h"
#include "layers/layer.h"

namespace caffe {

// One top of a layer that reads rows.
struct RowTopPlan {
  RowTop row;
  TransformationParameter transform;
  Shape sample;            // of one sample in the blob
  bool transpose = false;  // the batch axis comes second
};

// The batches of a layer that reads rows (data/row_file.h). Each top has a loader of its own; all
// go through the same rows in the same order.
//
// In training every rank has a file of its own, which is its whole stream: wrapped, and shuffled if
// wanted. Record q of rank r's stream stands at position q * world + r of the common one.
class RowBatches {
 public:
  RowBatches(const Layer& layer, std::vector<RowTopPlan> tops, int64_t batch, bool shuffle);

  // Begins with the first row of a file; returns the number of rows.
  int64_t open(const std::string& path);
  bool is_open() const { return !loaders_.empty(); }

  // Layer's functions of the same names.
  void reshape(const Blobs& top) const;
  void prepare(const Blobs& top);
  void cancel();
  std::vector<std::string> record_keys() const;

  template <typename T>
  void forward(const Blobs& top) const {
    for (size_t i = 0; i < tops_.size(); ++i) {
      const Batch& batch = batches_[i];
      T* out = top[i]->overwrite_data<T>();
      const float* in = batch.data.data();
      const int64_t size = tops_[i].sample.count();
      if (!tops_[i].transpose) {
        std::copy_n(in, rows_ * size, out);
        continue;
      }
      for (int64_t t = 0; t < size; ++t) {
        for (int64_t row = 0; row < rows_; ++row) *out++ = in[row * size + t];
      }
    }
  }

 private:
  BatchSchedule schedule() const;

  const Layer& layer_;
  const std::vector<RowTopPlan> tops_;
  const int64_t batch_;
  const bool shuffle_;
  int64_t rows_;  // of the current batch
  std::shared_ptr<const RecordSource> source_;
  std::vector<std::unique_ptr<BatchLoader>> loaders_;  // one for each top
  std::vector<Batch> batches_;
};

}  // namespace caffe

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/shape.h"
#include "data/sample_source.h"
#include "data/schedule.h"

namespace caffe {

// Memory for floats, aligned to 64 bytes, whose content is not kept when it grows.
class FloatBuffer {
 public:
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  void resize(int64_t size);

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float[], Free> data_;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

struct Batch {
  Shape shape;                     // rows x C x H x W
  FloatBuffer data;                // shape.count() values, row-major
  std::vector<float> labels;       // one per row
  std::vector<int64_t> positions;  // global position of each row
  std::vector<int64_t> records;    // number of each row's record within its source

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
};

struct BatchLoaderOptions {
  bool shuffle = false;  // each epoch in an order made from (seed, epoch), equal on all ranks
  uint64_t seed = 0;
  int threads = 1;
  int prefetch = 4;  // batches held ready
  // Where every one of N ranks has a source of its own: N. Positions p to p + N - 1 of the common
  // stream then hold one record of each.
  int64_t sources = 1;
};

// Reads, decodes and transforms batches ahead of the caller. Position p is record order_e(q mod
// size) of the source, where q = p / sources, e = q / size, and order_e is the identity unless
// shuffling.
class BatchLoader {
 public:
  BatchLoader(std::shared_ptr<const SampleSource> source,
              std::shared_ptr<const Transformer> transformer, BatchSchedule schedule,
              const BatchLoaderOptions& options);
  // Of the Datum records of a store.
  BatchLoader(std::shared_ptr<const RecordSource> records,
              const std::shared_ptr<const Transformer>& transformer, BatchSchedule schedule,
              const BatchLoaderOptions& options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  // The next batch, in the schedule's order; false after the last. The memory of the batch passed
  // in is taken back for later batches, so a caller that always passes the same object causes no
  // allocation. An error in a record is thrown when its batch is due, and again at every later
  // call; it names the record. kCancelled after cancel().
  bool next(Batch& batch);

  // Ends all waiting, from any thread.
  void cancel();

  // What next() has spent waiting for data so far, in seconds.
  double seconds_waited() const;

  // What the record at a position becomes; reads it in the calling thread.
  Extents extents_at(int64_t position) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace caffe

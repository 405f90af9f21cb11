#pragma once

#include <cstdint>
#include <functional>

namespace caffe {

// Global positions first, first + stride, ... (count of them) of one batch. A count of 0: there are
// no more batches.
struct BatchRange {
  int64_t first = 0;
  int64_t stride = 1;
  int64_t count = 0;
};

// The k-th batch (k = 0, 1, ...) of this rank.
using BatchSchedule = std::function<BatchRange(int64_t k)>;

// Training: batch k of rank r of N takes positions start + k*N*batch + r, stepping by N, so that
// the ranks together consume one global stream. With iter_size K, k counts the sub-batches. Never
// ends.
BatchSchedule training_schedule(int rank, int ranks, int64_t batch, int64_t start = 0);

// Validation while training: each round has `test_iter` batches in total, of which rank r takes r,
// r+N, ...; batch g of the stream holds positions g*batch ...; the stream runs on between rounds. A
// rank that gets no batch (rank >= test_iter) has an empty schedule.
BatchSchedule validation_schedule(int rank, int ranks, int64_t batch, int64_t test_iter);

// Positions [begin, end) once; the last batch has its true size.
BatchSchedule range_schedule(int64_t begin, int64_t end, int64_t batch);

}  // namespace caffe

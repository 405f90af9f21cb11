#include "data/schedule.h"

#include <algorithm>

#include "core/error.h"

namespace caffe {
namespace {

void check_ranks(int rank, int ranks, int64_t batch) {
  CAFFE_REQUIRE(ranks >= 1 && rank >= 0 && rank < ranks, "rank ", rank, " of ", ranks,
                " does not exist");
  CAFFE_REQUIRE(batch >= 1, "batch_size is ", batch, ", expected at least 1");
}

}  // namespace

BatchSchedule training_schedule(int rank, int ranks, int64_t batch, int64_t start) {
  check_ranks(rank, ranks, batch);
  CAFFE_REQUIRE(start >= 0, "a record stream cannot start at position ", start);
  return [=](int64_t k) { return BatchRange{start + k * ranks * batch + rank, ranks, batch}; };
}

BatchSchedule validation_schedule(int rank, int ranks, int64_t batch, int64_t test_iter) {
  check_ranks(rank, ranks, batch);
  const int64_t share = (test_iter - rank + ranks - 1) / ranks;  // batches of this rank per round
  return [=](int64_t k) {
    if (share <= 0) return BatchRange{};
    const int64_t global = k / share * test_iter + k % share * ranks + rank;
    return BatchRange{global * batch, 1, batch};
  };
}

BatchSchedule range_schedule(int64_t begin, int64_t end, int64_t batch) {
  check_ranks(0, 1, batch);
  CAFFE_REQUIRE(begin >= 0 && begin <= end, "records [", begin, ", ", end, ") are no range");
  return [=](int64_t k) {
    const int64_t first = begin + k * batch;
    return BatchRange{first, 1, std::max<int64_t>(0, std::min(batch, end - first))};
  };
}

}  // namespace caffe

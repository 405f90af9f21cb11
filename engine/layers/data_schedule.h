#pragma once

#include <algorithm>

#include "data/schedule.h"
#include "layers/run_context.h"

namespace caffe {

// Which positions of the record stream a data layer's batches hold, as DataOptions asks.
inline BatchSchedule data_schedule(const RunContext& context, int64_t batch) {
  const DataOptions& options = context.data;
  if (options.range) return range_schedule(options.range->first, options.range->second, batch);
  const BatchSchedule whole =
      options.batches_per_round > 0
          ? validation_schedule(context.rank, context.world, batch, options.batches_per_round)
          : training_schedule(context.rank, context.world, batch);
  const int64_t skipped = options.first_batch;
  return [=](int64_t k) { return whole(k + skipped); };
}

}  // namespace caffe

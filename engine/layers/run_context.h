#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "core/buffer.h"
#include "core/precision.h"
#include "proto/caffe.pb.h"

namespace caffe {

// Which records a net's data layers read (semantics of N workers: docs/semantics.md).
struct DataOptions {
  bool shuffle = false;
  // Batches of the stream that are skipped at the start: where a resumed run goes on.
  int64_t first_batch = 0;
  // Validation: the number of batches in a round, which the ranks share. 0: the training rule.
  int64_t batches_per_round = 0;
  int64_t first_round = 0;  // rounds that are skipped at the start
  // Exactly the records [first, second), each once, then the end.
  std::optional<std::pair<int64_t, int64_t>> range;
  // Layers that read rows get them while the net lives (Layer::read_rows); each row once.
  bool fed = false;
  // Rows' images of any size are resized to that of their top.
  bool resize = false;
  int threads = 1;  // that decode and transform, beside the compute threads
};

// What a net shares with all its layers.
struct RunContext {
  Phase phase = TEST;
  DType dtype = DType::kF32;
  Precision precision = Precision::kF32;
  uint64_t seed = 0;  // of fillers, dropout masks, crops, mirrors
  int rank = 0;
  int world = 1;
  // Forward passes of the training stream before this one: iteration * iter_size + sub-batch. With
  // the rank it tells the global position of a record: row i of this rank has position (pass *
  // batch + i) * world + rank.
  int64_t pass = 0;
  // A pass backward runs layers forward once more, whose results it did not keep. They must give
  // the same, and leave alone what else a pass forward changes: running statistics.
  bool repeating = false;
  DataOptions data;
};

}  // namespace caffe

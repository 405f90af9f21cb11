#include "layers/row_batches.h"

#include <algorithm>
#include <utility>

#include "data/row_file.h"
#include "layers/data_schedule.h"

namespace caffe {

RowBatches::RowBatches(const Layer& layer, std::vector<RowTopPlan> tops, int64_t batch,
                       bool shuffle)
    : layer_(layer), tops_(std::move(tops)), batch_(batch), shuffle_(shuffle), rows_(batch) {
  batches_.resize(tops_.size());
}

// Validation: the rank's own rows one after another.
BatchSchedule RowBatches::schedule() const {
  const RunContext& run = layer_.context();
  const int64_t batch = batch_;
  if (run.data.fed) return range_schedule(0, source_->size(), batch);
  if (run.data.range || run.data.batches_per_round == 0) return data_schedule(run, batch);
  const int64_t skipped = run.data.first_batch;
  return [=](int64_t k) { return BatchRange{(k + skipped) * batch, 1, batch}; };
}

int64_t RowBatches::open(const std::string& path) {
  const RunContext& run = layer_.context();
  loaders_.clear();
  source_ = open_row_file(path);
  BatchLoaderOptions options;
  options.shuffle = (shuffle_ && layer_.training()) || run.data.shuffle;
  options.seed = run.seed;
  options.threads = std::max(1, run.data.threads);
  const bool training = !run.data.fed && !run.data.range && run.data.batches_per_round == 0;
  options.sources = training ? run.world : 1;
  for (const RowTopPlan& top : tops_) {
    auto transformer = std::make_shared<const Transformer>(top.transform, layer_.phase(), run.seed,
                                                           layer_.draw_name());
    auto samples = row_samples(source_, transformer, top.row);
    loaders_.push_back(std::make_unique<BatchLoader>(std::move(samples), std::move(transformer),
                                                     schedule(), options));
  }
  return source_->size();
}

void RowBatches::reshape(const Blobs& top) const {
  for (size_t i = 0; i < tops_.size(); ++i) {
    std::vector<int64_t> dims{rows_};
    for (int axis = 0; axis < tops_[i].sample.axes(); ++axis) dims.push_back(tops_[i].sample[axis]);
    if (tops_[i].transpose) std::swap(dims[0], dims[1]);
    top[i]->reshape(Shape(dims));
  }
}

void RowBatches::prepare(const Blobs& top) {
  CAFFE_REQUIRE(is_open(), "has no rows yet; give it a file of rows before the first forward pass");
  for (size_t i = 0; i < loaders_.size(); ++i) {
    CAFFE_REQUIRE(loaders_[i]->next(batches_[i]), "all rows this layer was to read have been read");
  }
  rows_ = batches_[0].rows();
  reshape(top);
}

void RowBatches::cancel() {
  for (const auto& loader : loaders_) loader->cancel();
}

std::vector<std::string> RowBatches::record_keys() const {
  std::vector<std::string> keys;
  for (const int64_t record : batches_[0].records) keys.emplace_back(source_->read(record).key);
  return keys;
}

}  // namespace caffe

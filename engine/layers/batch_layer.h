#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "data/batch_loader.h"
#include "layers/data_schedule.h"
#include "layers/layer.h"

namespace caffe {

// A data layer whose batches a BatchLoader prepares ahead of the step, in threads of its own. Tops:
// the data and, if wanted, the labels. Self gives the source: start() in its set_up.
template <typename Self>
class BatchLayer : public PortableLayer<Self> {
 public:
  using PortableLayer<Self>::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::between(1, 2); }
  bool has_backward() const override { return false; }

  void reshape(const Blobs&, const Blobs& top) override {
    top[0]->reshape(shape_);
    if (top.size() > 1) top[1]->reshape({shape_[0]});
  }

  void prepare(const Blobs& top) override {
    CAFFE_REQUIRE(loader_->next(batch_), "all records this layer was to read have been read");
    shape_ = batch_.shape;
    reshape({}, top);
  }

  void cancel() override {
    if (loader_) loader_->cancel();
  }

  std::optional<std::vector<std::string>> record_keys() const override {
    std::vector<std::string> keys;
    for (const int64_t record : batch_.records) keys.push_back(source_->key(record));
    return keys;
  }

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    std::copy_n(batch_.data.data(), batch_.data.size(), top[0]->template overwrite_data<T>());
    if (top.size() > 1) {
      std::copy(batch_.labels.begin(), batch_.labels.end(), top[1]->template overwrite_data<T>());
    }
  }

 protected:
  std::shared_ptr<const Transformer> transformer(const TransformationParameter& param) const {
    return std::make_shared<Transformer>(param, this->phase(), this->context().seed,
                                         this->draw_name());
  }

  // Begins to load, with the layer's own shuffling and prefetching; `skipped` samples at the start
  // are left out.
  void start(std::shared_ptr<const SampleSource> source,
             std::shared_ptr<const Transformer> transformer, int64_t batch,
             BatchLoaderOptions options = {}, int64_t skipped = 0) {
    const RunContext& run = this->context();
    source_ = std::move(source);
    if (run.data.range) {
      const auto [begin, end] = *run.data.range;
      CAFFE_REQUIRE(begin >= 0 && begin <= end && end <= source_->size(),
                    "cannot read the records [", begin, ", ", end, ") of ", source_->name(),
                    ": it has ", source_->size(), " records");
    }
    options.shuffle |= run.data.shuffle;
    options.seed = run.seed;
    options.threads = std::max(1, run.data.threads);
    const BatchSchedule whole = data_schedule(run, batch);
    const BatchSchedule schedule = [=](int64_t k) {
      BatchRange range = whole(k);
      range.first += skipped;
      return range;
    };
    loader_ = std::make_unique<BatchLoader>(source_, std::move(transformer), schedule, options);
    const BatchRange first = schedule(0);
    const Extents extents = loader_->extents_at(first.first);
    shape_ = {std::max<int64_t>(first.count, 1), extents.channels, extents.height, extents.width};
  }

 private:
  std::shared_ptr<const SampleSource> source_;
  std::unique_ptr<BatchLoader> loader_;
  Batch batch_;
  Shape shape_;
};

}  // namespace caffe

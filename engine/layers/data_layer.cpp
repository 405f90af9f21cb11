#include <algorithm>
#include <memory>
#include <optional>

#include "data/batch_loader.h"
#include "layers/data_schedule.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Batches out of an LMDB or LevelDB of Datum records, decoded and transformed ahead of the step in
// threads of their own. Tops: the data and, if wanted, the labels.
class DataLayer : public PortableLayer<DataLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::between(1, 2); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const DataParameter& data = param().data_param();
    CAFFE_REQUIRE(!data.source().empty(),
                  "data_param { source } is missing: the path of an LMDB or LevelDB");
    CAFFE_REQUIRE(data.batch_size() > 0, "data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    TransformationParameter transform = param().transform_param();
    if (data.force_encoded_color()) transform.set_force_color(true);
    source_ = open_records(DataParameter::DB_Name(data.backend()), data.source());
    if (context().data.range) {
      const auto [begin, end] = *context().data.range;
      CAFFE_REQUIRE(begin >= 0 && begin <= end && end <= source_->size(),
                    "cannot read the records [", begin, ", ", end, ") of ", source_->name(),
                    ": it has ", source_->size(), " records");
    }
    BatchLoaderOptions options;
    options.shuffle = context().data.shuffle;
    options.seed = context().seed;
    options.threads = std::max(1, context().data.threads);
    options.prefetch = static_cast<int>(std::clamp<uint32_t>(data.prefetch(), 1, 1024));
    const BatchSchedule schedule = data_schedule(context(), data.batch_size());
    loader_ = std::make_unique<BatchLoader>(
        source_, std::make_shared<Transformer>(transform, context().phase, context().seed, name()),
        schedule, options);
    const BatchRange first = schedule(0);
    const Extents extents = loader_->extents_at(first.first);
    shape_ = {std::max<int64_t>(first.count, 1), extents.channels, extents.height, extents.width};
  }

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
    for (const int64_t record : batch_.records) keys.emplace_back(source_->read(record).key);
    return keys;
  }

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    std::copy_n(batch_.data.data(), batch_.data.size(), top[0]->overwrite_data<T>());
    if (top.size() > 1)
      std::copy(batch_.labels.begin(), batch_.labels.end(), top[1]->overwrite_data<T>());
  }

 private:
  std::shared_ptr<const RecordSource> source_;
  std::unique_ptr<BatchLoader> loader_;
  Batch batch_;
  Shape shape_;
};

CAFFE_REGISTER_LAYER(Data, DataLayer);

}  // namespace
}  // namespace caffe

#include "data/plugin_source.h"
#include "layers/batch_layer.h"

namespace caffe {
namespace {

// Batches out of an LMDB or LevelDB of Datum records. With source_class "libcaffe_data_NAME.so" out
// of records that this library reads, whatever their format (data/caffe_data.h); backend is then of
// no effect.
class DataLayer : public BatchLayer<DataLayer> {
 public:
  using BatchLayer::BatchLayer;

  void set_up(const Blobs&, const Blobs&) override {
    const DataParameter& data = param().data_param();
    CAFFE_REQUIRE(!data.source().empty(),
                  "data_param { source } is missing: the path of an LMDB or LevelDB");
    CAFFE_REQUIRE(data.batch_size() > 0, "data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    TransformationParameter transform = param().transform_param();
    if (data.force_encoded_color()) transform.set_force_color(true);
    const auto transformer = this->transformer(transform);
    start(datum_samples(open_records(backend(), data.source()), transformer), transformer,
          data.batch_size(),
          {.prefetch = static_cast<int>(std::clamp<uint32_t>(data.prefetch(), 1, 1024))});
  }

 private:
  std::string backend() const {
    if (!param().has_source_class()) return DataParameter::DB_Name(param().data_param().backend());
    CAFFE_REQUIRE(is_plugin(param().source_class()), "source_class ", param().source_class(),
                  " is no library, whose name would end in .so; a Scala class can be that of a "
                  "MemoryData or CoSData layer");
    return param().source_class();
  }
};

CAFFE_REGISTER_LAYER(Data, DataLayer);

}  // namespace
}  // namespace caffe

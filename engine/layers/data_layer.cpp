#include "layers/batch_layer.h"

namespace caffe {
namespace {

// Batches out of an LMDB or LevelDB of Datum records.
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
    start(datum_samples(open_records(DataParameter::DB_Name(data.backend()), data.source()),
                        transformer),
          transformer, data.batch_size(),
          {.prefetch = static_cast<int>(std::clamp<uint32_t>(data.prefetch(), 1, 1024))});
  }
};

CAFFE_REGISTER_LAYER(Data, DataLayer);

}  // namespace
}  // namespace caffe

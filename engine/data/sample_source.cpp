#include "data/sample_source.h"

namespace caffe {
namespace {

class DatumSamples : public SampleSource {
 public:
  DatumSamples(std::shared_ptr<const RecordSource> records,
               std::shared_ptr<const Transformer> transformer)
      : records_(std::move(records)), transformer_(std::move(transformer)) {}

  int64_t size() const override { return records_->size(); }
  const std::string& name() const override { return records_->name(); }
  std::string key(int64_t number) const override { return std::string(records_->read(number).key); }
  Sample sample(int64_t number, Transformer::Scratch& scratch) const override {
    DatumView datum;
    const Record record = records_->read(number);
    CAFFE_REQUIRE_CODE(
        try_parse_datum(record.value, datum), ErrorCode::kData, "is no Datum (",
        record.value.size(),
        " bytes that do not parse); the store must hold what convert_imageset writes");
    return {transformer_->content(datum, scratch), static_cast<float>(datum.label)};
  }
  void expect(int64_t number) const override { records_->expect(number); }

 private:
  const std::shared_ptr<const RecordSource> records_;
  const std::shared_ptr<const Transformer> transformer_;
};

}  // namespace

std::shared_ptr<const SampleSource> datum_samples(std::shared_ptr<const RecordSource> records,
                                                  std::shared_ptr<const Transformer> transformer) {
  return std::make_shared<DatumSamples>(std::move(records), std::move(transformer));
}

}  // namespace caffe

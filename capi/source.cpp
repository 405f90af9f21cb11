#include <cstring>
#include <memory>
#include <string>

#include "capi/caffe_c.h"
#include "capi/status.h"
#include "data/datum.h"
#include "data/record_source.h"

struct caffe_source {
  std::shared_ptr<caffe::RecordSource> records;
};

using caffe::capi::given;
using caffe::capi::guarded;

extern "C" {

int caffe_source_open(const char* backend, const char* path, caffe_source** source) {
  return guarded([&] {
    given(source, "source");
    *source = new caffe_source{caffe::open_records(given(backend, "backend"), given(path, "path"))};
  });
}

int64_t caffe_source_size(const caffe_source* source) {
  return source ? source->records->size() : 0;
}

int caffe_source_read(const caffe_source* source, int64_t index, caffe_record* record) {
  return guarded([&] {
    const caffe::RecordSource& records = *given(source, "source")->records;
    given(record, "record");
    CAFFE_REQUIRE(index >= 0 && index < records.size(), "record ", index, " of ", records.name(),
                  " does not exist: it has ", records.size(), " records");
    const caffe::Record raw = records.read(index);
    const caffe::DatumView datum = caffe::parse_datum(raw, records.name());
    *record = caffe_record{};
    record->key = raw.key.data();
    record->key_size = raw.key.size();
    record->channels = datum.channels;
    record->height = datum.height;
    record->width = datum.width;
    record->label = datum.label;
    record->encoded = datum.encoded ? 1 : 0;
    if (datum.float_count == 0 || !datum.data.empty()) {
      record->data = reinterpret_cast<const uint8_t*>(datum.data.data());
      record->data_size = datum.data.size();
    }
  });
}

void caffe_source_free(caffe_source* source) { delete source; }

}  // extern "C"

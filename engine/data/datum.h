#pragma once

#include <cstdint>
#include <string_view>

#include "data/record_source.h"

namespace caffe {

// A serialised Datum (engine/proto/caffe.proto) read in place: the views point into the record.
struct DatumView {
  int32_t channels = 0;
  int32_t height = 0;
  int32_t width = 0;
  int32_t label = 0;
  bool encoded = false;
  std::string_view data;    // C x H x W bytes, or an image file when `encoded`
  int64_t float_count = 0;  // number of values in float_data
  std::string_view wire;    // the whole message
};

// Reads the fields of a serialised Datum; accepts what protobuf accepts. False if `value` is no
// such message.
bool try_parse_datum(std::string_view value, DatumView& datum);

// Throws kData "record '<key>' of <source> is no Datum ..." where try_parse_datum gives false.
DatumView parse_datum(const Record& record, const std::string& source);

// Writes the datum.float_count values of float_data to `out`.
void copy_float_data(const DatumView& datum, float* out);

}  // namespace caffe

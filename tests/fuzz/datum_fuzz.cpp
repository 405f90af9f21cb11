// Records of a store: our reading in place and protobuf's own parser agree on any bytes.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "data/datum.h"
#include "proto/caffe.pb.h"

namespace {

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "reading in place and protobuf differ: %s\n", what);
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  caffe::DatumView view;
  caffe::Datum datum;
  const bool parsed = caffe::try_parse_datum(bytes, view);
  require(parsed == datum.ParseFromArray(data, static_cast<int>(size)), "validity");
  if (!parsed) return 0;
  require(view.channels == datum.channels() && view.height == datum.height() &&
              view.width == datum.width(),
          "shape");
  require(view.label == datum.label() && view.encoded == datum.encoded(), "label, encoded");
  require(view.data == datum.data(), "data");
  require(view.float_count == datum.float_data_size(), "number of floats");
  std::vector<float> floats(static_cast<size_t>(view.float_count));
  caffe::copy_float_data(view, floats.data());
  return 0;
}

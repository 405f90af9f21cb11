// A data format that does what it should not: `source` says what. Records are 1 x 1 x 3 values.
#include <caffe_data.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

void* open_odd(const char* source, char* error, uint64_t size) {
  if (std::strcmp(source, "closed") == 0) {
    std::snprintf(error, size, "it is closed on Sundays");
    return nullptr;
  }
  return new std::string(source);
}
void close_odd(void* store) { delete static_cast<std::string*>(store); }
int64_t count_odd(void* store) { return *static_cast<std::string*>(store) == "empty" ? 0 : 7; }

int read_odd(void* store, int64_t index, caffe_data_record* record, char* error, uint64_t size) {
  const std::string& source = *static_cast<std::string*>(store);
  if (source == "unreadable" && index == 2) {
    std::snprintf(error, size, "a hole is in the tape");
    return -1;
  }
  auto* values = static_cast<float*>(record->room(record, 3 * sizeof(float)));
  for (int i = 0; i < 3; ++i) values[i] = static_cast<float>(10 * index + i);
  record->label = static_cast<int32_t>(-index);
  record->channels = record->height = source == "flat" ? 0 : source == "huge" ? 1 << 30 : 1;
  record->width = 3;
  if (source != "nothing") record->values = values;
  if (source == "both") record->pixels = reinterpret_cast<const uint8_t*>(values);
  return 0;
}

void key_odd(void*, int64_t index, char* key, uint64_t size) {
  std::snprintf(key, size, "tape/%d", static_cast<int>(index));
}

const caffe_data_api kApi = {
    ODD_VERSION, sizeof(caffe_data_api), open_odd, close_odd, count_odd, read_odd, key_odd};
}  // namespace

extern "C" const caffe_data_api* caffe_data_entry(void) { return &kApi; }

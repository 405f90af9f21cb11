#include "capi/values.h"

#include <algorithm>
#include <cstdlib>

extern "C" {

size_t caffe_strings_size(const caffe_strings* strings) {
  return strings ? strings->items.size() : 0;
}

const char* caffe_strings_at(const caffe_strings* strings, size_t index) {
  return index < caffe_strings_size(strings) ? strings->items[index].c_str() : nullptr;
}

void caffe_strings_free(caffe_strings* strings) { delete strings; }

size_t caffe_outputs_size(const caffe_outputs* outputs) {
  return outputs ? outputs->items.size() : 0;
}

const char* caffe_outputs_name(const caffe_outputs* outputs, size_t index) {
  return index < caffe_outputs_size(outputs) ? outputs->items[index].name.c_str() : nullptr;
}

size_t caffe_outputs_count(const caffe_outputs* outputs, size_t index) {
  return index < caffe_outputs_size(outputs) ? outputs->items[index].values.size() : 0;
}

const float* caffe_outputs_values(const caffe_outputs* outputs, size_t index) {
  return index < caffe_outputs_size(outputs) ? outputs->items[index].values.data() : nullptr;
}

void caffe_outputs_free(caffe_outputs* outputs) { delete outputs; }

void caffe_bytes_free(uint8_t* bytes) { std::free(bytes); }

}  // extern "C"

namespace caffe::capi {

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace caffe::capi

// Image files: any bytes give an image or an Error.
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "data/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  caffe::Image image;
  for (const auto mode :
       {caffe::ColorMode::kUnchanged, caffe::ColorMode::kColor, caffe::ColorMode::kGray}) {
    try {
      caffe::decode_image({reinterpret_cast<const char*>(data), size}, mode, image);
    } catch (const caffe::Error&) {
    }
  }
  return 0;
}

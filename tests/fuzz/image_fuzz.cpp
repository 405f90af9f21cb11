// Image files: any bytes give an image, or the part of it that is asked for, or an Error.
#include <cstdint>
#include <string_view>

#include "data/image.h"
#include "fuzz/survive.h"

namespace {

// Some rectangle within an image; another one for other `number`s.
caffe::Region region_of(const caffe::ImageReader& reader, size_t number) {
  const auto chosen = [&](int most) {
    return static_cast<int>(number % static_cast<size_t>(most));
  };
  const int top = chosen(reader.height()), left = chosen(reader.width());
  return {top, left, 1 + chosen(reader.height() - top), 1 + chosen(reader.width() - left)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  caffe::Image image;
  caffe::ImageReader reader;
  for (const auto mode :
       {caffe::ColorMode::kUnchanged, caffe::ColorMode::kColor, caffe::ColorMode::kGray}) {
    caffe::fuzz::survive([&] { caffe::decode_image(bytes, mode, image); });
    caffe::fuzz::survive([&] {
      reader.open(bytes, mode);
      reader.read(region_of(reader, size));
    });
  }
  return 0;
}

#pragma once

#include <cstdint>
#include <string_view>

#include "data/image.h"

namespace caffe {

// The decoders behind decode_image.
void decode_jpeg(std::string_view bytes, ColorMode mode, Image& image);
void decode_png(std::string_view bytes, ColorMode mode, Image& image);

// Throws kData for an image that is empty or so large that its header must be damaged.
void check_image_size(int64_t height, int64_t width);

// Luma with 14-bit weights, as OpenCV rounds it.
inline uint8_t gray_of(int blue, int green, int red) {
  return static_cast<uint8_t>((blue * 1868 + green * 9617 + red * 4899 + (1 << 13)) >> 14);
}

}  // namespace caffe

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "data/image.h"

namespace caffe {

// The decoders behind decode_image and ImageReader.
void decode_png(std::string_view bytes, ColorMode mode, Image& image);

class JpegReader {
 public:
  JpegReader(std::string_view bytes, ColorMode mode);  // reads the header
  ~JpegReader();

  int channels() const;
  int height() const;
  int width() const;
  // Chooses what is decoded, at most once: gives a region that holds `region`.
  Region choose(const Region& region);
  // Decodes what was chosen, or else the whole, once. Rows are `row` bytes apart.
  void read(uint8_t* pixels, ptrdiff_t row);

 private:
  struct Decoder;
  const std::unique_ptr<Decoder> decoder_;
};

// Throws kData for an image that is empty or so large that its header must be damaged.
void check_image_size(int64_t height, int64_t width);

// Luma with 14-bit weights, as OpenCV rounds it.
inline uint8_t gray_of(int blue, int green, int red) {
  return static_cast<uint8_t>((blue * 1868 + green * 9617 + red * 4899 + (1 << 13)) >> 14);
}

}  // namespace caffe

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace caffe {

// Pixels as OpenCV holds them: interleaved rows, height x width x channels, colours in the order B,
// G, R(, A).
struct Image {
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;

  void reshape(int new_channels, int new_height, int new_width);
};

enum class ColorMode {
  kUnchanged,  // as stored: 1, 3 or 4 channels
  kColor,      // 3 channels; transparency is dropped
  kGray,       // 1 channel
};

// Decodes a JPEG, PNG, BMP, GIF (first frame) or PNM file into `image`, whose memory is reused.
// 16-bit files are reduced to 8 bits. Values are those of OpenCV's imdecode (JPEG: integer DCT,
// smooth chroma upsampling; no EXIF rotation). Throws kData saying what is wrong with the bytes;
// the caller puts the record in front.
void decode_image(std::string_view bytes, ColorMode mode, Image& image);

// Bilinear, pixel centres at half coordinates, border repeated, 11-bit weights: bit for bit
// OpenCV's INTER_LINEAR. `to` must be another object than `from`.
void resize_image(const Image& from, int height, int width, Image& to);

}  // namespace caffe

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
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

// A rectangle of an image's pixels.
struct Region {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
};

class JpegReader;

// Decodes image files of which only a part may be wanted; which one can depend on their size.
// Memory is reused from file to file.
class ImageReader {
 public:
  ImageReader();
  ~ImageReader();

  // Begins a file, whose bytes must live until it is read. Throws as decode_image does, but damage
  // behind the header may be left for read() to find.
  void open(std::string_view bytes, ColorMode mode);
  int channels() const { return channels_; }
  int height() const { return height_; }
  int width() const { return width_; }

  struct Pixels {
    const uint8_t* first;  // of the region
    ptrdiff_t row;         // from one row to the next
  };
  // Decodes the file, once; the result lives until the next call. The pixels are those of
  // decode_image, to the bit, and so are the errors, wherever in the file its damage is.
  Pixels read(const Region& region);
  const Image& read();

 private:
  std::unique_ptr<JpegReader> jpeg_;  // null: open() has decoded the file into image_
  Image image_;
  std::vector<uint8_t> pixels_;
  int channels_ = 0;
  int height_ = 0;
  int width_ = 0;
};

// Bilinear, pixel centres at half coordinates, border repeated, 11-bit weights: bit for bit
// OpenCV's INTER_LINEAR. `to` must be another object than `from`.
void resize_image(const Image& from, int height, int width, Image& to);

}  // namespace caffe

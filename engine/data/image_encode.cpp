#include "data/image_encode.h"

#include <png.h>

#include <cstdlib>

#include "core/error.h"
#include "data/jpeg_errors.h"

namespace caffe {
namespace {

constexpr int kJpegQuality = 95;

std::string encode_png(const Image& image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_BGR;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::string bytes(size, '\0');
  const bool good =
      png_image_write_to_memory(&png, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) != 0;
  CAFFE_REQUIRE_CODE(good, ErrorCode::kInternal, "cannot be written as PNG: ", png.message);
  bytes.resize(size);
  return bytes;
}

struct Encoder {
  jpeg_compress_struct info{};
  JpegErrors errors{};
  unsigned char* bytes = nullptr;  // libjpeg's, of malloc
  unsigned long size = 0;

  Encoder() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = on_error;
  }
  ~Encoder() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

// What setjmp returns to holds no C++ objects.
bool write_rows(Encoder& encoder, const Image& image) {
  if (setjmp(encoder.errors.out) != 0) return false;
  jpeg_compress_struct& info = encoder.info;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &encoder.bytes, &encoder.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = image.channels;
  info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_EXT_BGR;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, kJpegQuality, TRUE);
  jpeg_start_compress(&info, TRUE);
  const size_t stride = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.pixels.data() + info.next_scanline * stride);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

std::string encode_jpeg(const Image& image) {
  Encoder encoder;
  CAFFE_REQUIRE_CODE(write_rows(encoder, image), ErrorCode::kInternal,
                     "cannot be written as JPEG: ", encoder.errors.message);
  return {reinterpret_cast<const char*>(encoder.bytes), encoder.size};
}

}  // namespace

std::string encode_image(const Image& image, const std::string& type) {
  CAFFE_REQUIRE(image.channels == 1 || image.channels == 3, "an image of ", image.channels,
                " channels cannot be encoded, expected 1 or 3");
  if (type == "png") return encode_png(image);
  CAFFE_REQUIRE(type == "jpg" || type == "jpeg", "images cannot be encoded as '", type,
                "', expected jpg or png");
  return encode_jpeg(image);
}

}  // namespace caffe

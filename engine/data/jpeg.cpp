#include "data/jpeg_errors.h"

#include <jerror.h>

#include "core/error.h"
#include "data/image_codecs.h"

namespace caffe {
namespace {

// A file that ends early would be filled up with grey: an error here. Other warnings leave a usable
// image.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

struct Decoder {
  jpeg_decompress_struct info{};
  JpegErrors errors{};

  Decoder() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = on_error;
    errors.manager.emit_message = on_message;
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }
};

bool read_header(Decoder& decoder, std::string_view bytes) {
  if (setjmp(decoder.errors.out) != 0) return false;
  jpeg_create_decompress(&decoder.info);
  jpeg_mem_src(&decoder.info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder.info, TRUE);
  return true;
}

bool read_rows(Decoder& decoder, uint8_t* pixels, size_t stride) {
  if (setjmp(decoder.errors.out) != 0) return false;
  jpeg_start_decompress(&decoder.info);
  while (decoder.info.output_scanline < decoder.info.output_height) {
    JSAMPROW row = pixels + decoder.info.output_scanline * stride;
    jpeg_read_scanlines(&decoder.info, &row, 1);
  }
  jpeg_finish_decompress(&decoder.info);
  return true;
}

// Adobe programs store the four inks inverted, and so do all known CMYK files.
void cmyk_to_image(const Image& inks, Image& image) {
  const uint8_t* from = inks.pixels.data();
  uint8_t* to = image.pixels.data();
  const size_t count = static_cast<size_t>(inks.height) * inks.width;
  for (size_t i = 0; i < count; ++i, from += 4) {
    const int key = from[3];
    const int red = key - ((255 - from[0]) * key >> 8);
    const int green = key - ((255 - from[1]) * key >> 8);
    const int blue = key - ((255 - from[2]) * key >> 8);
    if (image.channels == 1) {
      *to++ = gray_of(blue, green, red);
    } else {
      *to++ = static_cast<uint8_t>(blue);
      *to++ = static_cast<uint8_t>(green);
      *to++ = static_cast<uint8_t>(red);
    }
  }
}

}  // namespace

void decode_jpeg(std::string_view bytes, ColorMode mode, Image& image) {
  Decoder decoder;
  jpeg_decompress_struct& info = decoder.info;
  CAFFE_REQUIRE_CODE(read_header(decoder, bytes), ErrorCode::kData,
                     "holds a damaged JPEG: ", decoder.errors.message);
  const int height = static_cast<int>(info.image_height);
  const int width = static_cast<int>(info.image_width);
  check_image_size(height, width);
  const bool gray =
      mode == ColorMode::kGray || (mode == ColorMode::kUnchanged && info.num_components == 1);
  image.reshape(gray ? 1 : 3, height, width);
  Image inks;
  const bool cmyk = info.num_components == 4;
  if (cmyk) inks.reshape(4, height, width);
  info.out_color_space = cmyk ? JCS_CMYK : gray ? JCS_GRAYSCALE : JCS_EXT_BGR;
  Image& target = cmyk ? inks : image;
  CAFFE_REQUIRE_CODE(read_rows(decoder, target.pixels.data(),
                               static_cast<size_t>(width) * static_cast<size_t>(target.channels)),
                     ErrorCode::kData, "holds a damaged JPEG: ", decoder.errors.message);
  if (cmyk) cmyk_to_image(inks, image);
}

}  // namespace caffe

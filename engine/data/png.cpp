#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "data/image_codecs.h"

namespace caffe {
namespace {

struct PngState {
  std::string_view rest;
  char message[256] = "";
};

void on_error(png_structp png, png_const_charp text) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof(state->message), "%s", text);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, size_t size) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (size > state->rest.size()) png_error(png, "the file ends early");
  std::memcpy(to, state->rest.data(), size);
  state->rest.remove_prefix(size);
}

struct Reader {
  PngState state;
  png_structp png;
  png_infop info;

  explicit Reader(std::string_view bytes) {
    state.rest = bytes;
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
    info = png == nullptr ? nullptr : png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      fail(ErrorCode::kInternal, "libpng cannot be set up");
    }
    png_set_read_fn(png, &state, on_read);
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct Header {
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int depth = 0;
  int color = 0;
  bool transparent = false;
};

// What setjmp returns to holds no C++ objects, here and in read_rows.
bool read_header(Reader& reader, Header& header) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_info(reader.png, reader.info);
  png_get_IHDR(reader.png, reader.info, &header.width, &header.height, &header.depth, &header.color,
               nullptr, nullptr, nullptr);
  header.transparent = png_get_valid(reader.png, reader.info, PNG_INFO_tRNS) != 0;
  return true;
}

bool read_rows(Reader& reader, const Header& header, int channels, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_structp png = reader.png;
  const bool colored = (header.color & PNG_COLOR_MASK_COLOR) != 0;
  if (header.depth == 16) png_set_strip_16(png);
  if (header.color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (header.color == PNG_COLOR_TYPE_GRAY && header.depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (channels == 4) {
    if (header.transparent) png_set_tRNS_to_alpha(png);
  } else {
    png_set_strip_alpha(png);
  }
  if (channels == 1) {
    if (colored) png_set_rgb_to_gray(png, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
  } else {
    if (!colored) png_set_gray_to_rgb(png);
    png_set_bgr(png);
  }
  png_set_interlace_handling(png);
  png_read_update_info(png, reader.info);
  png_read_image(png, rows);
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

void decode_png(std::string_view bytes, ColorMode mode, Image& image) {
  Reader reader(bytes);
  Header header;
  CAFFE_REQUIRE_CODE(read_header(reader, header), ErrorCode::kData,
                     "holds a damaged PNG: ", reader.state.message);
  check_image_size(header.height, header.width);
  const bool colored = (header.color & PNG_COLOR_MASK_COLOR) != 0;
  const bool alpha = (header.color & PNG_COLOR_MASK_ALPHA) != 0 || (colored && header.transparent);
  const int channels = mode == ColorMode::kGray    ? 1
                       : mode == ColorMode::kColor ? 3
                       : alpha                     ? 4
                       : colored                   ? 3
                                                   : 1;
  image.reshape(channels, static_cast<int>(header.height), static_cast<int>(header.width));
  std::vector<png_bytep> rows(header.height);
  for (size_t y = 0; y < rows.size(); ++y) {
    rows[y] = image.pixels.data() + y * header.width * static_cast<size_t>(channels);
  }
  CAFFE_REQUIRE_CODE(read_rows(reader, header, channels, rows.data()), ErrorCode::kData,
                     "holds a damaged PNG: ", reader.state.message);
}

}  // namespace caffe

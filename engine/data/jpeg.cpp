#include "data/jpeg_errors.h"

#include <jerror.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "data/image_codecs.h"

namespace caffe {
namespace {

// A file that ends early would be filled up with grey: an error here. Other warnings leave a usable
// image.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

// Adobe programs store the four inks inverted, and so do all known CMYK files.
void cmyk_to_row(const uint8_t* from, int count, bool gray, uint8_t* to) {
  for (int x = 0; x < count; ++x, from += 4) {
    const int key = from[3];
    const int red = key - ((255 - from[0]) * key >> 8);
    const int green = key - ((255 - from[1]) * key >> 8);
    const int blue = key - ((255 - from[2]) * key >> 8);
    if (gray) {
      *to++ = gray_of(blue, green, red);
    } else {
      *to++ = static_cast<uint8_t>(blue);
      *to++ = static_cast<uint8_t>(green);
      *to++ = static_cast<uint8_t>(red);
    }
  }
}

bool read_header(jpeg_decompress_struct& info, std::jmp_buf& out, std::string_view bytes) {
  if (setjmp(out) != 0) return false;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  return true;
}

}  // namespace

struct JpegReader::Decoder {
  jpeg_decompress_struct info{};
  JpegErrors errors{};
  bool gray = false;
  bool started = false;
  Region chosen;

  Decoder() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = on_error;
    errors.manager.emit_message = on_message;
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }

  bool cmyk() const { return info.num_components == 4; }

  bool start() {
    if (setjmp(errors.out) != 0) return false;
    info.out_color_space = cmyk() ? JCS_CMYK : gray ? JCS_GRAYSCALE : JCS_EXT_BGR;
    jpeg_start_decompress(&info);
    started = true;
    return true;
  }

  bool cut(JDIMENSION* left, JDIMENSION* width) {
    if (setjmp(errors.out) != 0) return false;
    jpeg_crop_scanline(&info, left, width);
    return true;
  }

  // All rows are decoded, those that were not chosen into `spare`: so damage in them is found.
  bool read_rows(uint8_t* pixels, ptrdiff_t stride, uint8_t* spare) {
    if (setjmp(errors.out) != 0) return false;
    while (info.output_scanline < info.output_height) {
      const int y = static_cast<int>(info.output_scanline) - chosen.top;
      const bool wanted = y >= 0 && y < chosen.height;
      JSAMPROW to = wanted && !cmyk() ? pixels + y * stride : spare;
      jpeg_read_scanlines(&info, &to, 1);
      if (wanted && cmyk()) cmyk_to_row(spare, chosen.width, gray, pixels + y * stride);
    }
    jpeg_finish_decompress(&info);
    return true;
  }

  void check(bool good) const {
    CAFFE_REQUIRE_CODE(good, ErrorCode::kData, "holds a damaged JPEG: ", errors.message);
  }
};

JpegReader::JpegReader(std::string_view bytes, ColorMode mode)
    : decoder_(std::make_unique<Decoder>()) {
  Decoder& decoder = *decoder_;
  decoder.check(read_header(decoder.info, decoder.errors.out, bytes));
  check_image_size(decoder.info.image_height, decoder.info.image_width);
  decoder.gray = mode == ColorMode::kGray ||
                 (mode == ColorMode::kUnchanged && decoder.info.num_components == 1);
  decoder.chosen = {0, 0, height(), width()};
}

JpegReader::~JpegReader() = default;

int JpegReader::channels() const { return decoder_->gray ? 1 : 3; }
int JpegReader::height() const { return static_cast<int>(decoder_->info.image_height); }
int JpegReader::width() const { return static_cast<int>(decoder_->info.image_width); }

Region JpegReader::choose(const Region& region) {
  Decoder& decoder = *decoder_;
  decoder.chosen.top = region.top;
  decoder.chosen.height = region.height;
  // Where there are several scans, more smoothing is possible than is provided for here.
  if (decoder.cmyk() || jpeg_has_multiple_scans(&decoder.info)) return decoder.chosen;
  // Smoothing looks at the neighbours, which at a cut are not there: one more column of the
  // coarsest component. With fewer than two of its columns libjpeg-turbo would smooth in another
  // way, too.
  constexpr int kNeighbours = MAX_SAMP_FACTOR;
  const int first = std::max(region.left - kNeighbours, 0);
  const int end = std::min(region.left + region.width + kNeighbours, width());
  auto left = static_cast<JDIMENSION>(first);
  auto width = static_cast<JDIMENSION>(end - first);
  decoder.check(decoder.start() && decoder.cut(&left, &width));
  decoder.chosen.left = static_cast<int>(left);
  decoder.chosen.width = static_cast<int>(width);
  return decoder.chosen;
}

void JpegReader::read(uint8_t* pixels, ptrdiff_t row) {
  Decoder& decoder = *decoder_;
  std::vector<uint8_t> spare(static_cast<size_t>(width()) * 4);
  decoder.check((decoder.started || decoder.start()) &&
                decoder.read_rows(pixels, row, spare.data()));
}

}  // namespace caffe

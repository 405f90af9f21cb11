#include "data/image.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "core/error.h"
#include "data/image_codecs.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_FAILURE_STRINGS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace caffe {
namespace {

bool begins(std::string_view bytes, std::string_view magic) {
  return bytes.substr(0, magic.size()) == magic;
}

bool is_jpeg(std::string_view bytes) { return begins(bytes, "\xff\xd8"); }

void read_jpeg(JpegReader& jpeg, Image& image) {
  image.reshape(jpeg.channels(), jpeg.height(), jpeg.width());
  jpeg.read(image.pixels.data(), ptrdiff_t{image.width} * image.channels);
}

// Whether the three numbers of a PNM header, if `bytes` are one, are such as an int holds: stb
// reads them without looking.
bool has_sane_numbers(std::string_view bytes) {
  if (!begins(bytes, "P5") && !begins(bytes, "P6")) return true;
  size_t at = 2;
  for (int number = 0; number < 3; ++number) {
    while (at < bytes.size() &&
           (std::isspace(static_cast<unsigned char>(bytes[at])) != 0 || bytes[at] == '#')) {
      at = bytes[at] == '#' ? bytes.find_first_of("\r\n", at) : at + 1;
    }
    if (at >= bytes.size()) return true;
    const size_t end = std::min(bytes.find_first_not_of("0123456789", at), bytes.size());
    if (end - at > std::numeric_limits<int>::digits10) return false;
    at = end;
  }
  return true;
}

// BMP, GIF and PNM.
void decode_other(std::string_view bytes, ColorMode mode, Image& image) {
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(std::min<size_t>(bytes.size(), INT32_MAX));
  int width = 0, height = 0, stored = 0;
  CAFFE_REQUIRE_CODE(
      has_sane_numbers(bytes) && stbi_info_from_memory(data, size, &width, &height, &stored) == 1,
      ErrorCode::kData, "holds ", bytes.size(),
      " bytes that are no JPEG, PNG, BMP, GIF or PNM image");
  check_image_size(height, width);
  const bool gray_file = stored <= 2;
  const int wanted = gray_file ? 1 : mode == ColorMode::kUnchanged && stored == 4 ? 4 : 3;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(data, size, &width, &height, &stored, wanted), stbi_image_free);
  CAFFE_REQUIRE_CODE(pixels != nullptr, ErrorCode::kData, "holds a damaged image of ", bytes.size(),
                     " bytes");
  const int channels = mode == ColorMode::kGray ? 1 : mode == ColorMode::kColor ? 3 : wanted;
  image.reshape(channels, height, width);
  const size_t count = static_cast<size_t>(height) * width;
  const stbi_uc* from = pixels.get();
  uint8_t* to = image.pixels.data();
  for (size_t i = 0; i < count; ++i, from += wanted, to += channels) {
    if (wanted == 1) {
      std::fill(to, to + channels, from[0]);
    } else if (channels == 1) {
      to[0] = gray_of(from[2], from[1], from[0]);
    } else {
      to[0] = from[2];
      to[1] = from[1];
      to[2] = from[0];
      if (channels == 4) to[3] = from[3];
    }
  }
}

// What one output coordinate is made of.
struct Tap {
  int index, next;
  int weight, next_weight;  // of the pixels at index and next, in units of 1 / 2^kTapBits
};

constexpr int kTapBits = 11;

// Beyond the border OpenCV moves columns to its last pixel, but keeps two weights for rows.
std::vector<Tap> taps(int from, int to, bool columns) {
  std::vector<Tap> result(static_cast<size_t>(to));
  const double ratio = static_cast<double>(from) / to;
  for (int i = 0; i < to; ++i) {
    const auto at = static_cast<float>((i + 0.5) * ratio - 0.5);
    int index = static_cast<int>(std::floor(at));
    float fraction = at - static_cast<float>(index);
    if (columns && (index < 0 || index >= from - 1)) fraction = 0;
    const auto units = [](float part) {
      return static_cast<int>(std::lrint(part * (1 << kTapBits)));
    };
    result[static_cast<size_t>(i)] = {std::clamp(index, 0, from - 1),
                                      std::clamp(index + 1, 0, from - 1), units(1 - fraction),
                                      units(fraction)};
  }
  return result;
}

// To exactly half the size OpenCV takes the mean of every 2 x 2 pixels.
void halve_image(const Image& from, Image& to) {
  const int stride = from.width * from.channels;
  uint8_t* out = to.pixels.data();
  for (int y = 0; y < to.height; ++y) {
    const uint8_t* row = from.pixels.data() + static_cast<size_t>(2 * y) * stride;
    for (int x = 0; x < to.width; ++x, row += 2 * from.channels) {
      for (int c = 0; c < from.channels; ++c) {
        const int sum =
            row[c] + row[c + from.channels] + row[c + stride] + row[c + stride + from.channels];
        *out++ = static_cast<uint8_t>((sum + 2) >> 2);
      }
    }
  }
}

}  // namespace

void Image::reshape(int new_channels, int new_height, int new_width) {
  channels = new_channels;
  height = new_height;
  width = new_width;
  pixels.resize(static_cast<size_t>(channels) * height * width);
}

void check_image_size(int64_t height, int64_t width) {
  constexpr int64_t kMostPixels = int64_t{1} << 28;
  CAFFE_REQUIRE_CODE(height > 0 && width > 0 && height <= kMostPixels / width, ErrorCode::kData,
                     "holds an image of ", height, " x ", width, " pixels, expected 1 to ",
                     kMostPixels);
}

void decode_image(std::string_view bytes, ColorMode mode, Image& image) {
  CAFFE_REQUIRE_CODE(!bytes.empty(), ErrorCode::kData, "holds no image (0 bytes)");
  if (is_jpeg(bytes)) {
    JpegReader jpeg(bytes, mode);
    read_jpeg(jpeg, image);
  } else if (begins(bytes, "\x89PNG")) {
    decode_png(bytes, mode, image);
  } else {
    decode_other(bytes, mode, image);
  }
}

ImageReader::ImageReader() = default;
ImageReader::~ImageReader() = default;

void ImageReader::open(std::string_view bytes, ColorMode mode) {
  jpeg_.reset();
  if (is_jpeg(bytes)) {
    jpeg_ = std::make_unique<JpegReader>(bytes, mode);
    channels_ = jpeg_->channels();
    height_ = jpeg_->height();
    width_ = jpeg_->width();
  } else {
    decode_image(bytes, mode, image_);
    channels_ = image_.channels;
    height_ = image_.height;
    width_ = image_.width;
  }
}

const Image& ImageReader::read() {
  if (jpeg_ != nullptr) read_jpeg(*jpeg_, image_);
  return image_;
}

ImageReader::Pixels ImageReader::read(const Region& region) {
  Region held{0, 0, height_, width_};
  ptrdiff_t row = ptrdiff_t{width_} * channels_;
  const uint8_t* pixels = image_.pixels.data();
  if (jpeg_ != nullptr) {
    held = jpeg_->choose(region);
    // libjpeg-turbo writes rows that begin at a multiple of 32 past the cache, which costs a fifth
    // more time where they are read again at once. So all begin between two multiples.
    constexpr ptrdiff_t kUnit = 32;
    row = (ptrdiff_t{held.width} * channels_ + kUnit - 1) / kUnit * kUnit;
    const auto size = static_cast<size_t>(held.height * row + kUnit);
    if (pixels_.size() < size) pixels_.resize(size);
    const auto past_unit =
        static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(pixels_.data()) % kUnit);
    uint8_t* const to = pixels_.data() + (kUnit + kUnit / 2 - past_unit) % kUnit;
    jpeg_->read(to, row);
    pixels = to;
  }
  return {pixels + (region.top - held.top) * row + ptrdiff_t{region.left - held.left} * channels_,
          row};
}

void resize_image(const Image& from, int height, int width, Image& to) {
  CAFFE_REQUIRE(from.height > 0 && from.width > 0 && height > 0 && width > 0,
                "cannot resize an image of ", from.height, " x ", from.width, " to ", height, " x ",
                width);
  const int channels = from.channels;
  to.reshape(channels, height, width);
  if (from.height == height && from.width == width) {
    to.pixels = from.pixels;
    return;
  }
  if (from.height == 2 * height && from.width == 2 * width) return halve_image(from, to);
  const std::vector<Tap> columns = taps(from.width, width, true);
  const std::vector<Tap> rows = taps(from.height, height, false);
  const size_t from_stride = static_cast<size_t>(from.width) * channels;
  const size_t to_stride = static_cast<size_t>(width) * channels;
  // OpenCV drops bits of both products before it adds them, rounding only once, at the end.
  const auto part = [](int value, int weight) { return (weight * (value >> 4)) >> 16; };
  for (int y = 0; y < height; ++y) {
    const Tap& row = rows[static_cast<size_t>(y)];
    const uint8_t* above = from.pixels.data() + row.index * from_stride;
    const uint8_t* below = from.pixels.data() + row.next * from_stride;
    uint8_t* out = to.pixels.data() + y * to_stride;
    for (int x = 0; x < width; ++x) {
      const Tap& column = columns[static_cast<size_t>(x)];
      const int left = column.index * channels;
      const int right = column.next * channels;
      for (int c = 0; c < channels; ++c) {
        const int top = above[left + c] * column.weight + above[right + c] * column.next_weight;
        const int bottom = below[left + c] * column.weight + below[right + c] * column.next_weight;
        *out++ =
            static_cast<uint8_t>((part(top, row.weight) + part(bottom, row.next_weight) + 2) >> 2);
      }
    }
  }
}

}  // namespace caffe

#include "data/transformer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "capi/caffe_c.h"
#include "capi/options.h"
#include "capi/status.h"
#include "data/image_codecs.h"

using caffe::Extents;
using caffe::Image;
using caffe::capi::given;
using caffe::capi::guarded;

struct caffe_transformer {
  caffe::Transformer transformer;
  int channels = 0;  // 0: as stored
  int height = 0;    // 0: not resized
  int width = 0;
  caffe::Transformer::Scratch scratch;
};

struct caffe_image {
  Image image;
};

namespace {

Extents extents_of(const int32_t* numbers, const char* what) {
  given(numbers, what);
  return {numbers[0], numbers[1], numbers[2]};
}

caffe::ColorMode color_mode(int channels) {
  return channels == 1   ? caffe::ColorMode::kGray
         : channels == 3 ? caffe::ColorMode::kColor
                         : caffe::ColorMode::kUnchanged;
}

// What decoding in colour or in gray does, for pixels that came decoded.
void set_channels(int channels, Image& image) {
  if (channels == 0 || channels == image.channels) return;
  Image out;
  out.reshape(channels, image.height, image.width);
  const size_t from_step = static_cast<size_t>(image.channels);
  const size_t to_step = static_cast<size_t>(channels);
  const uint8_t* from = image.pixels.data();
  uint8_t* to = out.pixels.data();
  for (size_t left = out.pixels.size() / to_step; left > 0; --left) {
    if (channels == 1) {
      to[0] = image.channels >= 3 ? caffe::gray_of(from[0], from[1], from[2]) : from[0];
    } else {
      for (size_t c = 0; c < to_step; ++c) to[c] = image.channels >= 3 ? from[c] : from[0];
    }
    from += from_step;
    to += to_step;
  }
  image = std::move(out);
}

void require(const Extents& found, const Extents& expected) {
  CAFFE_REQUIRE_CODE(found == expected, caffe::ErrorCode::kData, "becomes ", found,
                     " (channels x height x width), but the network takes ", expected);
}

void take_pixels(const uint8_t* bytes, size_t size, const int32_t extents[3], Image& image) {
  const Extents found = extents_of(extents, "extents");
  CAFFE_REQUIRE_CODE(found.fit(static_cast<int64_t>(size)), caffe::ErrorCode::kData, "is ", found,
                     " (channels x height x width), but holds ", size, " bytes");
  image.reshape(found.channels, found.height, found.width);
  std::memcpy(image.pixels.data(), given(bytes, "bytes"), size);
}

// Resizes and transforms the picture in the scratch.
void finish(caffe_transformer& handle, const Extents& expected, float* out) {
  Image* image = &handle.scratch.image;
  if (handle.height > 0 && (image->height != handle.height || image->width != handle.width)) {
    caffe::resize_image(*image, handle.height, handle.width, handle.scratch.resized);
    image = &handle.scratch.resized;
  }
  const Extents extents{image->channels, image->height, image->width};
  require(handle.transformer.output(extents), expected);
  handle.transformer.transform(caffe::PixelView{image->pixels.data(), extents, true}, 0, out);
}

}  // namespace

extern "C" {

int caffe_transformer_create(const uint8_t* param, size_t size, const char* options,
                             caffe_transformer** transformer) {
  return guarded([&] {
    given(transformer, "transformer");
    const caffe::capi::Options parsed("caffe_transformer_create", options,
                                      {"channels", "height", "width"});
    caffe::TransformationParameter message;
    CAFFE_REQUIRE(
        size == 0 || (size <= INT32_MAX && message.ParseFromArray(param, static_cast<int>(size))),
        "the ", size, " bytes given as param are no TransformationParameter");
    const auto number = [&](const char* key) {
      return static_cast<int>(std::min<int64_t>(parsed.integer(key, 0, 0), INT32_MAX));
    };
    const int channels = number("channels"), height = number("height"), width = number("width");
    CAFFE_REQUIRE((height > 0) == (width > 0), "pictures are resized to ", height, " x ", width,
                  "; give both height and width, or none");
    *transformer = new caffe_transformer{
        caffe::Transformer(message, caffe::TEST, 0, "input"), channels, height, width, {}};
  });
}

int caffe_transformer_output(const caffe_transformer* transformer, const int32_t in[3],
                             int32_t out[3]) {
  return guarded([&] {
    const Extents result =
        given(transformer, "transformer")->transformer.output(extents_of(in, "in"));
    given(out, "out");
    out[0] = result.channels, out[1] = result.height, out[2] = result.width;
  });
}

int caffe_transformer_encoded(caffe_transformer* transformer, const uint8_t* bytes, size_t size,
                              const int32_t expected[3], float* out) {
  return guarded([&] {
    caffe_transformer& handle = *given(transformer, "transformer");
    const auto* text = reinterpret_cast<const char*>(given(bytes, "bytes"));
    caffe::decode_image({text, size}, color_mode(handle.channels), handle.scratch.image);
    finish(handle, extents_of(expected, "expected"), given(out, "out"));
  });
}

int caffe_transformer_pixels(caffe_transformer* transformer, const uint8_t* bytes, size_t size,
                             const int32_t extents[3], const int32_t expected[3], float* out) {
  return guarded([&] {
    caffe_transformer& handle = *given(transformer, "transformer");
    Image& image = handle.scratch.image;
    take_pixels(bytes, size, extents, image);
    set_channels(handle.channels, image);
    finish(handle, extents_of(expected, "expected"), given(out, "out"));
  });
}

int caffe_transformer_values(caffe_transformer* transformer, const float* values, size_t size,
                             const int32_t extents[3], const int32_t expected[3], float* out) {
  return guarded([&] {
    const caffe_transformer& handle = *given(transformer, "transformer");
    const Extents found = extents_of(extents, "extents");
    CAFFE_REQUIRE_CODE(found.fit(static_cast<int64_t>(size)), caffe::ErrorCode::kData, "has ", size,
                       " values, expected ", found.count(), ": ", found,
                       " (channels x height x width)");
    require(handle.transformer.output(found), extents_of(expected, "expected"));
    handle.transformer.transform(given(values, "values"), found, 0, given(out, "out"));
  });
}

void caffe_transformer_free(caffe_transformer* transformer) { delete transformer; }

int caffe_image_decode(const uint8_t* bytes, size_t size, int channels, caffe_image** image) {
  return guarded([&] {
    given(image, "image");
    CAFFE_REQUIRE(channels == 0 || channels == 1 || channels == 3,
                  "pictures are decoded to 1 or 3 ",
                  "channels, or with 0 as they are stored; not to ", channels);
    auto made = std::make_unique<caffe_image>();
    const auto* text = reinterpret_cast<const char*>(given(bytes, "bytes"));
    caffe::decode_image({text, size}, color_mode(channels), made->image);
    *image = made.release();
  });
}

int caffe_image_resize(const uint8_t* pixels, size_t size, const int32_t extents[3], int32_t height,
                       int32_t width, caffe_image** image) {
  return guarded([&] {
    given(image, "image");
    Image from;
    take_pixels(pixels, size, extents, from);
    auto made = std::make_unique<caffe_image>();
    CAFFE_REQUIRE(height > 0 && width > 0 && height <= INT32_MAX / width / from.channels,
                  "cannot resize an image to ", height, " x ", width);
    caffe::resize_image(from, height, width, made->image);
    *image = made.release();
  });
}

const uint8_t* caffe_image_pixels(const caffe_image* image, int32_t extents[3]) {
  const Image& found = image->image;
  extents[0] = found.channels, extents[1] = found.height, extents[2] = found.width;
  return found.pixels.data();
}

void caffe_image_free(caffe_image* image) { delete image; }

}  // extern "C"

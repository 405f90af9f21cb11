#include "data/transformer.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/clones.h"
#include "core/error.h"
#include "core/random.h"
#include "core/shape.h"
#include "data/mapped_file.h"

namespace caffe {
namespace {

constexpr uint64_t kTransformSalt = 0x7472616e73666f72;  // keeps the layer's other draws apart

// (in - mean) * scale over one row, in the order of Caffe, so that the results have the same bits.
// Mean is a pointer to one value per pixel or a single value.
inline float mean_at(float mean, int) { return mean; }
inline float mean_at(const float* mean, int x) { return mean[x]; }

template <int kStride, typename T, typename Mean>
CAFFE_CLONES void transform_row(const T* in, int count, Mean mean, float scale, bool mirror,
                                float* out) {
  for (int x = 0; x < count; ++x) {
    out[x] = (static_cast<float>(in[kStride * x]) - mean_at(mean, x)) * scale;
  }
  if (!mirror) return;
  // Writing backwards in the loop above would keep it from being vectorised, which costs more.
  for (int x = 0; x < count / 2; ++x) std::swap(out[x], out[count - 1 - x]);
}

// One colour of pixels with `channels` values each.
template <typename Mean>
void transform_interleaved(const uint8_t* in, int channels, int count, Mean mean, float scale,
                           bool mirror, float* out) {
  if (channels == 3) {
    transform_row<3>(in, count, mean, scale, mirror, out);
  } else if (channels == 4) {
    transform_row<4>(in, count, mean, scale, mirror, out);
  } else {
    for (int x = 0; x < count; ++x) {
      const float value = static_cast<float>(in[static_cast<ptrdiff_t>(channels) * x]);
      out[mirror ? count - 1 - x : x] = (value - mean_at(mean, x)) * scale;
    }
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Extents& extents) {
  return out << extents.channels << " x " << extents.height << " x " << extents.width;
}

struct Transformer::Window {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
  bool mirror = false;
};

Transformer::Transformer(const TransformationParameter& param, Phase phase, uint64_t seed,
                         std::string_view layer)
    : param_(param),
      random_crop_(phase == TRAIN && param.crop_size() > 0),
      key_(random_key(seed, layer, kTransformSalt)),
      crop_(static_cast<int>(std::min<uint32_t>(param.crop_size(), INT32_MAX))),
      mean_values_(param.mean_value().begin(), param.mean_value().end()) {
  CAFFE_REQUIRE(!param.has_mean_file() || mean_values_.empty(),
                "transform_param has both mean_file and mean_value, expected at most one of them");
  CAFFE_REQUIRE(
      !(param.force_color() && param.force_gray()),
      "transform_param sets both force_color and force_gray, expected at most one of them");
  if (param.has_mean_file()) load_mean_file(param.mean_file());
}

void Transformer::load_mean_file(const std::string& path) {
  const MappedFile file(path);
  BlobProto blob;
  google::protobuf::io::CodedInputStream stream(
      reinterpret_cast<const uint8_t*>(file.data()),
      static_cast<int>(std::min<size_t>(file.size(), INT32_MAX)));
  CAFFE_REQUIRE_CODE(blob.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage(),
                     ErrorCode::kData, "mean file ", path,
                     " is no BlobProto; compute_image_mean writes one");
  const Shape shape =
      blob.has_shape()
          ? Shape(std::vector<int64_t>(blob.shape().dim().begin(), blob.shape().dim().end()))
          : Shape{blob.num(), blob.channels(), blob.height(), blob.width()};
  const bool doubles = blob.double_data_size() > 0;
  const int64_t values = doubles ? blob.double_data_size() : blob.data_size();
  bool fits = shape.axes() <= 4 && values > 0;
  for (const int64_t extent : shape.dims()) fits = fits && extent > 0 && extent <= values;
  CAFFE_REQUIRE_CODE(fits && shape.legacy(0) == 1 && shape.count() == values, ErrorCode::kData,
                     "mean file ", path, " has shape ", shape.str(), " and ", values,
                     " values, expected one image of as many values");
  mean_extents_ = {static_cast<int>(shape.legacy(1)), static_cast<int>(shape.legacy(2)),
                   static_cast<int>(shape.legacy(3))};
  if (doubles) {
    mean_image_.assign(blob.double_data().begin(), blob.double_data().end());
  } else {
    mean_image_.assign(blob.data().begin(), blob.data().end());
  }
}

Extents Transformer::output(const Extents& input) const {
  CAFFE_REQUIRE_CODE(input.channels > 0 && input.height > 0 && input.width > 0, ErrorCode::kData,
                     "has the extents ", input, ", expected at least 1 each");
  CAFFE_REQUIRE_CODE(crop_ <= input.height && crop_ <= input.width, ErrorCode::kData, "is ", input,
                     " (channels x height x width), smaller than crop_size ", crop_);
  CAFFE_REQUIRE(
      mean_values_.size() <= 1 || mean_values_.size() == static_cast<size_t>(input.channels),
      "has ", input.channels, " channels, but transform_param gives ", mean_values_.size(),
      " mean_value entries; give one, or one per channel");
  CAFFE_REQUIRE(mean_image_.empty() || mean_extents_ == input, "is ", input, ", but mean file ",
                param_.mean_file(), " is for ", mean_extents_, " (channels x height x width)");
  return crop_ > 0 ? Extents{input.channels, crop_, crop_} : input;
}

Transformer::Window Transformer::window(const Extents& input, int64_t position) const {
  Window window{0, 0, input.height, input.width, false};
  // Always drawn in this order, so that crops stay the same when mirror is switched on.
  RandomStream draw(key_, static_cast<uint64_t>(position));
  if (crop_ > 0) {
    window.height = window.width = crop_;
    if (random_crop_) {
      window.top = static_cast<int>(draw.below(static_cast<uint32_t>(input.height - crop_ + 1)));
      window.left = static_cast<int>(draw.below(static_cast<uint32_t>(input.width - crop_ + 1)));
    } else {
      window.top = (input.height - crop_) / 2;
      window.left = (input.width - crop_) / 2;
    }
  }
  if (param_.mirror()) window.mirror = draw.below(2) == 1;
  return window;
}

float Transformer::mean_of(int channel) const {
  if (mean_values_.empty()) return 0;
  return mean_values_[mean_values_.size() == 1 ? 0 : static_cast<size_t>(channel)];
}

template <typename T>
void Transformer::run(const T* from, const Extents& input, int64_t position, float* out) const {
  const Window w = window(input, position);
  const float scale = param_.scale();
  // Without crop, mirror and mean image a channel is one long row.
  const bool whole =
      w.width == input.width && w.height == input.height && !w.mirror && mean_image_.empty();
  const int rows = whole ? 1 : w.height;
  const int length = whole ? input.height * input.width : w.width;
  for (int c = 0; c < input.channels; ++c) {
    for (int y = 0; y < rows; ++y, out += length) {
      const size_t offset =
          (static_cast<size_t>(c) * input.height + w.top + y) * input.width + w.left;
      if (mean_image_.empty()) {
        transform_row<1>(from + offset, length, mean_of(c), scale, w.mirror, out);
      } else {
        transform_row<1>(from + offset, length, mean_image_.data() + offset, scale, w.mirror, out);
      }
    }
  }
}

void Transformer::run_interleaved(const PixelView& pixels, int64_t position, float* out) const {
  const Extents& input = pixels.extents;
  const int channels = input.channels;
  const Window w = window(input, position);
  const float scale = param_.scale();
  const size_t plane = static_cast<size_t>(w.height) * w.width;
  for (int y = 0; y < w.height; ++y) {
    const size_t pixel = static_cast<size_t>(w.top + y) * input.width + w.left;
    for (int c = 0; c < channels; ++c) {
      const uint8_t* from = pixels.data + pixel * channels + c;
      float* to = out + c * plane + static_cast<size_t>(y) * w.width;
      if (mean_image_.empty()) {
        transform_interleaved(from, channels, w.width, mean_of(c), scale, w.mirror, to);
      } else {
        const size_t offset = static_cast<size_t>(c) * input.height * input.width + pixel;
        transform_interleaved(from, channels, w.width, mean_image_.data() + offset, scale, w.mirror,
                              to);
      }
    }
  }
}

void Transformer::transform(const PixelView& pixels, int64_t position, float* out) const {
  output(pixels.extents);
  if (pixels.interleaved && pixels.extents.channels != 1) {
    run_interleaved(pixels, position, out);
  } else {
    run(pixels.data, pixels.extents, position, out);
  }
}

void Transformer::transform(const float* values, const Extents& input, int64_t position,
                            float* out) const {
  output(input);
  run(values, input, position, out);
}

Transformer::Content Transformer::content(const DatumView& datum, Scratch& scratch) const {
  Content content;
  if (datum.encoded) {
    const ColorMode mode = param_.force_color()  ? ColorMode::kColor
                           : param_.force_gray() ? ColorMode::kGray
                                                 : ColorMode::kUnchanged;
    decode_image(datum.data, mode, scratch.image);
    const Image& image = scratch.image;
    content.pixels = {image.pixels.data(), {image.channels, image.height, image.width}, true};
    return content;
  }
  const Extents extents{datum.channels, datum.height, datum.width};
  CAFFE_REQUIRE_CODE(extents.channels > 0 && extents.height > 0 && extents.width > 0,
                     ErrorCode::kData, "is a Datum of the extents ", extents,
                     ", expected at least 1 each; was it written by convert_imageset?");
  const bool bytes = !datum.data.empty();
  const int64_t values = bytes ? static_cast<int64_t>(datum.data.size()) : datum.float_count;
  CAFFE_REQUIRE_CODE(extents.fit(values), ErrorCode::kData, "is a Datum of the extents ", extents,
                     ", but holds ", values, bytes ? " bytes" : " values");
  content.pixels = {reinterpret_cast<const uint8_t*>(datum.data.data()), extents, false};
  if (!bytes) {
    scratch.floats.resize(static_cast<size_t>(values));
    copy_float_data(datum, scratch.floats.data());
    content.pixels.data = nullptr;
    content.floats = scratch.floats.data();
  }
  return content;
}

void Transformer::transform(const Content& content, int64_t position, float* out) const {
  if (content.floats != nullptr) {
    transform(content.floats, content.pixels.extents, position, out);
  } else {
    transform(content.pixels, position, out);
  }
}

}  // namespace caffe

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

// What is subtracted from channel c of the pixel x of a row.
struct MeanValues {
  const float* first;
  ptrdiff_t channel;
  float at(int c, int) const { return first[c * channel]; }
};
struct MeanRow {
  const float* first;
  ptrdiff_t channel;
  float at(int c, int x) const { return first[c * channel + x]; }
};

// (in - mean) * scale over one row of pixels, in the order of Caffe, so that the results have the
// same bits. Rows of the channels are `plane` apart in `out`.
template <int kChannels, typename T, typename Mean>
CAFFE_CLONES void transform_row(const T* __restrict in, int count, Mean mean, float scale,
                                bool mirror, float* __restrict out, ptrdiff_t plane) {
  for (int x = 0; x < count; ++x) {
    for (int c = 0; c < kChannels; ++c) {
      const auto value = static_cast<float>(in[kChannels * x + c]);
      out[c * plane + x] = (value - mean.at(c, x)) * scale;
    }
  }
  if (!mirror) return;
  // Writing backwards in the loop above would keep it from being vectorised, which costs more.
  for (int c = 0; c < kChannels; ++c) {
    float* const row = out + c * plane;
    for (int x = 0; x < count / 2; ++x) std::swap(row[x], row[count - 1 - x]);
  }
}

template <typename Mean>
void transform_interleaved(const uint8_t* in, int channels, int count, Mean mean, float scale,
                           bool mirror, float* out, ptrdiff_t plane) {
  if (channels == 1) return transform_row<1>(in, count, mean, scale, mirror, out, plane);
  if (channels == 3) return transform_row<3>(in, count, mean, scale, mirror, out, plane);
  if (channels == 4) return transform_row<4>(in, count, mean, scale, mirror, out, plane);
  for (int x = 0; x < count; ++x) {
    for (int c = 0; c < channels; ++c) {
      const auto value = static_cast<float>(*in++);
      out[c * plane + (mirror ? count - 1 - x : x)] = (value - mean.at(c, x)) * scale;
    }
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Extents& extents) {
  return out << extents.channels << " x " << extents.height << " x " << extents.width;
}

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
  Window window{{0, 0, input.height, input.width}};
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

template <typename Row>
void Transformer::with_mean(const Extents& input, int top, int left, int channel, Row row) const {
  static constexpr float kZero = 0;
  if (!mean_image_.empty()) {
    const ptrdiff_t plane = ptrdiff_t{input.height} * input.width;
    row(MeanRow{mean_image_.data() + channel * plane + ptrdiff_t{top} * input.width + left, plane});
  } else if (mean_values_.size() > 1) {
    row(MeanValues{mean_values_.data() + channel, 1});
  } else {
    row(MeanValues{mean_values_.empty() ? &kZero : mean_values_.data(), 0});
  }
}

template <typename T>
void Transformer::run_planar(const T* from, const Extents& input, int64_t position,
                             float* out) const {
  const Window w = window(input, position);
  // Without crop, mirror and mean image a channel is one long row.
  const bool whole =
      w.width == input.width && w.height == input.height && !w.mirror && mean_image_.empty();
  const int rows = whole ? 1 : w.height;
  const int length = whole ? input.height * input.width : w.width;
  for (int c = 0; c < input.channels; ++c) {
    for (int y = w.top; y < w.top + rows; ++y, out += length) {
      const T* in = from + (ptrdiff_t{c} * input.height + y) * input.width + w.left;
      with_mean(input, y, w.left, c, [&](auto mean) {
        transform_row<1>(in, length, mean, param_.scale(), w.mirror, out, 0);
      });
    }
  }
}

void Transformer::run_interleaved(const uint8_t* first, ptrdiff_t row, const Extents& input,
                                  const Window& w, float* out) const {
  const ptrdiff_t plane = ptrdiff_t{w.height} * w.width;
  const float* const end = out + plane;
  for (int y = w.top; y < w.top + w.height; ++y, first += row, out += w.width) {
    // The memory of a batch is far away, and the processor does not foresee the next rows of
    // several planes soon enough.
    constexpr int kAhead = 2, kLine = 64 / sizeof(float);
    const ptrdiff_t ahead = ptrdiff_t{kAhead} * w.width;
    if (end - out > ahead) {
      for (int c = 0; c < input.channels; ++c) {
        const float* const next = out + c * plane + ahead;
        for (int x = 0; x < w.width; x += kLine) __builtin_prefetch(next + x, 1);
      }
    }
    with_mean(input, y, w.left, 0, [&](auto mean) {
      transform_interleaved(first, input.channels, w.width, mean, param_.scale(), w.mirror, out,
                            plane);
    });
  }
}

void Transformer::transform(const PixelView& pixels, int64_t position, float* out) const {
  const Extents& input = pixels.extents;
  output(input);
  if (!pixels.interleaved || input.channels == 1) {
    return run_planar(pixels.data, input, position, out);
  }
  const Window w = window(input, position);
  const ptrdiff_t row = ptrdiff_t{input.width} * input.channels;
  run_interleaved(pixels.data + w.top * row + ptrdiff_t{w.left} * input.channels, row, input, w,
                  out);
}

void Transformer::transform(const float* values, const Extents& input, int64_t position,
                            float* out) const {
  output(input);
  run_planar(values, input, position, out);
}

Transformer::Content Transformer::Content::of(ImageReader& file) {
  Content content;
  content.pixels.extents = {file.channels(), file.height(), file.width()};
  content.pixels.interleaved = true;
  content.file = &file;
  return content;
}

PixelView Transformer::Content::all_pixels() const {
  PixelView all = pixels;
  if (file != nullptr) all.data = file->read().pixels.data();
  return all;
}

Transformer::Content Transformer::content(const DatumView& datum, Scratch& scratch) const {
  if (datum.encoded) {
    const ColorMode mode = param_.force_color()  ? ColorMode::kColor
                           : param_.force_gray() ? ColorMode::kGray
                                                 : ColorMode::kUnchanged;
    scratch.reader.open(datum.data, mode);
    return Content::of(scratch.reader);
  }
  const Extents extents{datum.channels, datum.height, datum.width};
  CAFFE_REQUIRE_CODE(extents.channels > 0 && extents.height > 0 && extents.width > 0,
                     ErrorCode::kData, "is a Datum of the extents ", extents,
                     ", expected at least 1 each; was it written by convert_imageset?");
  const bool bytes = !datum.data.empty();
  const int64_t values = bytes ? static_cast<int64_t>(datum.data.size()) : datum.float_count;
  CAFFE_REQUIRE_CODE(extents.fit(values), ErrorCode::kData, "is a Datum of the extents ", extents,
                     ", but holds ", values, bytes ? " bytes" : " values");
  Content content;
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
  const Extents& extents = content.pixels.extents;
  if (content.file != nullptr) {
    output(extents);
    const Window w = window(extents, position);
    const auto [first, row] = content.file->read(w);
    run_interleaved(first, row, extents, w, out);
  } else if (content.floats != nullptr) {
    transform(content.floats, extents, position, out);
  } else {
    transform(content.pixels, position, out);
  }
}

}  // namespace caffe

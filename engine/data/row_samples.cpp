#include "data/row_samples.h"

#include <cstring>
#include <utility>

#include "data/row_file.h"

namespace caffe {
namespace {

class RowSamples : public SampleSource {
 public:
  RowSamples(std::shared_ptr<const RecordSource> rows,
             std::shared_ptr<const Transformer> transformer, RowTop top)
      : rows_(std::move(rows)), transformer_(std::move(transformer)), top_(std::move(top)) {}

  int64_t size() const override { return rows_->size(); }
  const std::string& name() const override { return rows_->name(); }
  std::string key(int64_t number) const override { return std::string(rows_->read(number).key); }

  Sample sample(int64_t number, Transformer::Scratch& scratch) const override {
    const RowField field = row_field(rows_->read(number).value, top_.field);
    Sample sample;
    switch (field.kind) {
      case RowFieldKind::kFloats:
        sample.content = floats(field, scratch);
        break;
      case RowFieldKind::kPixels:
        sample.content.pixels = pixels(field, scratch);
        break;
      case RowFieldKind::kEncoded:
        sample.content = encoded(field, scratch);
    }
    const Extents found = sample.content.pixels.extents;
    CAFFE_REQUIRE_CODE(found.channels == top_.input.channels, ErrorCode::kData, "has ",
                       found.channels, " channels, but top '", top_.name, "' has ",
                       top_.input.channels);
    const Extents output = transformer_->output(found);
    CAFFE_REQUIRE_CODE(output == top_.output, ErrorCode::kData, "becomes ", output, " from ", found,
                       " (channels x height x width), but top '", top_.name, "' is ", top_.output,
                       "; correct its size, set crop_size, or resize (-resize)");
    return sample;
  }

 private:
  Transformer::Content floats(const RowField& field, Transformer::Scratch& scratch) const {
    const Extents extents = top_.input;
    CAFFE_REQUIRE_CODE(field.bytes.size() == static_cast<size_t>(extents.count()) * sizeof(float),
                       ErrorCode::kData, "has ", field.bytes.size() / sizeof(float),
                       " numbers for top '", top_.name, "', expected ", extents.count(), " (",
                       extents, ")");
    scratch.floats.resize(static_cast<size_t>(extents.count()));
    std::memcpy(scratch.floats.data(), field.bytes.data(), field.bytes.size());
    Transformer::Content content;
    content.pixels.extents = extents;
    content.floats = scratch.floats.data();
    return content;
  }

  PixelView pixels(const RowField& field, Transformer::Scratch& scratch) const {
    const Extents extents{field.channels, field.height, field.width};
    CAFFE_REQUIRE_CODE(extents.fit(static_cast<int64_t>(field.bytes.size())), ErrorCode::kData,
                       "has ", field.bytes.size(), " bytes of pixels for top '", top_.name,
                       "', but its extents are ", extents);
    if (needs_resize(extents)) {
      scratch.image.reshape(extents.channels, extents.height, extents.width);
      std::memcpy(scratch.image.pixels.data(), field.bytes.data(), field.bytes.size());
      return resized(scratch.image, scratch);
    }
    return {reinterpret_cast<const uint8_t*>(field.bytes.data()), extents, true};
  }

  Transformer::Content encoded(const RowField& field, Transformer::Scratch& scratch) const {
    const ColorMode mode = top_.input.channels == 1   ? ColorMode::kGray
                           : top_.input.channels == 3 ? ColorMode::kColor
                                                      : ColorMode::kUnchanged;
    ImageReader& file = scratch.reader;
    file.open(field.bytes, mode);
    CAFFE_REQUIRE_CODE((field.height == 0 || field.height == file.height()) &&
                           (field.width == 0 || field.width == file.width()),
                       ErrorCode::kData, "holds an image of ", file.height(), " x ", file.width(),
                       " pixels, but says ", field.height, " x ", field.width);
    Transformer::Content content = Transformer::Content::of(file);
    if (needs_resize(content.pixels.extents)) {
      content = {};
      content.pixels = resized(file.read(), scratch);
    }
    return content;
  }

  bool needs_resize(const Extents& extents) const {
    return top_.resize &&
           (extents.height != top_.input.height || extents.width != top_.input.width);
  }

  PixelView resized(const Image& from, Transformer::Scratch& scratch) const {
    resize_image(from, top_.input.height, top_.input.width, scratch.resized);
    const Image& image = scratch.resized;
    return {image.pixels.data(), {image.channels, image.height, image.width}, true};
  }

  const std::shared_ptr<const RecordSource> rows_;
  const std::shared_ptr<const Transformer> transformer_;
  const RowTop top_;
};

}  // namespace

std::shared_ptr<const SampleSource> row_samples(std::shared_ptr<const RecordSource> rows,
                                                std::shared_ptr<const Transformer> transformer,
                                                RowTop top) {
  return std::make_shared<RowSamples>(std::move(rows), std::move(transformer), std::move(top));
}

}  // namespace caffe

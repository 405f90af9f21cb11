#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "data/datum.h"
#include "data/image.h"
#include "proto/caffe.pb.h"

namespace caffe {

// What one record holds.
struct Extents {
  int channels = 0;
  int height = 0;
  int width = 0;

  int64_t count() const { return int64_t{channels} * height * width; }
  // Whether so many values have these extents. Whatever numbers a record says, nothing overflows.
  bool fit(int64_t values) const {
    if (channels < 1 || height < 1 || width < 1) return false;
    const int64_t rows = int64_t{channels} * height;
    return values % rows == 0 && values / rows == width;
  }
  bool operator==(const Extents&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Extents& extents);  // "3 x 227 x 227"

// Bytes of an image somewhere in memory: C x H x W, or H x W x C when interleaved.
struct PixelView {
  const uint8_t* data = nullptr;
  Extents extents;
  bool interleaved = false;
};

// What a record becomes before it is put into a batch: force_color/force_gray, mean, crop, mirror,
// scale, in Caffe's sense: out = (pixel - mean) * scale; the mean image is indexed at the uncropped
// position; the crop is central in TEST and random in TRAIN; mirroring is drawn in both phases.
// Draws depend only on (seed, layer, position). All members may be called by several threads at
// once.
class Transformer {
 public:
  // Memory that one thread reuses from record to record.
  struct Scratch {
    ImageReader reader;
    Image image;
    Image resized;
    std::vector<float> floats;
  };

  // Throws kInvalidArgument for contradicting settings and kIo or kData if the mean file cannot be
  // read.
  Transformer(const TransformationParameter& param, Phase phase, uint64_t seed,
              std::string_view layer);

  // What content of these extents becomes; throws if crop or mean do not fit.
  Extents output(const Extents& input) const;

  // `position` is the record's global position; `out` has room for output(input).count() values.
  void transform(const PixelView& pixels, int64_t position, float* out) const;
  void transform(const float* values, const Extents& input, int64_t position, float* out) const;

  // A Datum made ready, its fields checked. The views live as long as the record and the scratch.
  // Exactly one of pixels.data, floats and file is set; pixels.extents always are.
  struct Content {
    PixelView pixels;
    const float* floats = nullptr;
    ImageReader* file = nullptr;  // opened; to be read once

    static Content of(ImageReader& file);
    // All pixels where there are no floats.
    PixelView all_pixels() const;
  };
  Content content(const DatumView& datum, Scratch& scratch) const;
  void transform(const Content& content, int64_t position, float* out) const;

 private:
  struct Window : Region {  // which part of a record is taken, and whether reversed
    bool mirror = false;
  };

  void load_mean_file(const std::string& path);
  Window window(const Extents& input, int64_t position) const;
  // Calls row(mean) with what is subtracted from a row that begins there, in the channels from
  // `channel` on.
  template <typename Row>
  void with_mean(const Extents& input, int top, int left, int channel, Row row) const;
  template <typename T>
  void run_planar(const T* from, const Extents& input, int64_t position, float* out) const;
  // `first` is the window's first value; rows are `row` values apart.
  void run_interleaved(const uint8_t* first, ptrdiff_t row, const Extents& input, const Window& w,
                       float* out) const;

  TransformationParameter param_;
  bool random_crop_;
  uint64_t key_;
  int crop_;
  std::vector<float> mean_values_;
  std::vector<float> mean_image_;  // empty: no mean file
  Extents mean_extents_;
};

}  // namespace caffe

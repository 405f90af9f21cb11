#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "core/random.h"
#include "io/files.h"
#include "layers/batch_layer.h"

namespace caffe {
namespace {

struct Window {
  size_t image;
  int label;
  int x1, y1, x2, y2;  // both ends are inside
};

constexpr int kFarthest = 1 << 20;  // pixels from the image's corner

struct WindowFile {
  std::vector<std::string> images;
  std::vector<Window> foreground, background;
};

// Per image: "# index", path, channels, height, width, number of windows; per window: class,
// overlap with the object, x1 y1 x2 y2.
WindowFile read_windows(const std::string& path, const WindowDataParameter& p) {
  std::ifstream file(path);
  CAFFE_REQUIRE_CODE(file.good(), ErrorCode::kIo, "cannot open the window file '", path, "'");
  WindowFile found;
  std::string mark;
  while (file >> mark) {
    std::string image;
    int64_t index = 0;
    int channels = 0, height = 0, width = 0, windows = 0;
    file >> index >> image >> channels >> height >> width >> windows;
    CAFFE_REQUIRE_CODE(!file.fail() && mark == "#" && windows >= 0, ErrorCode::kData,
                       "the window file '", path, "' is wrong at image ", found.images.size(),
                       ": expected '# index', path, channels, height, width, number of windows");
    for (int i = 0; i < windows; ++i) {
      Window w{found.images.size(), 0, 0, 0, 0, 0};
      float overlap = 0;
      file >> w.label >> overlap >> w.x1 >> w.y1 >> w.x2 >> w.y2;
      const bool sensible = std::min(w.x1, w.y1) >= -kFarthest && w.x1 <= w.x2 && w.y1 <= w.y2 &&
                            std::max(w.x2, w.y2) <= kFarthest;
      CAFFE_REQUIRE_CODE(!file.fail() && sensible, ErrorCode::kData, "the window file '", path,
                         "' is wrong at window ", i, " of image ", image,
                         ": expected class, overlap, x1 y1 x2 y2 with x1 <= x2 and y1 <= y2");
      if (overlap >= p.fg_threshold()) {
        CAFFE_REQUIRE_CODE(w.label > 0, ErrorCode::kData, "window ", i, " of image ", image,
                           " in '", path, "' is foreground with class ", w.label,
                           "; classes count from 1, 0 is background");
        found.foreground.push_back(w);
      } else if (overlap < p.bg_threshold()) {
        w.label = 0;
        found.background.push_back(w);
      }
    }
    found.images.push_back(image);
  }
  return found;
}

// An endless stream of drawn windows, cut out of their images and scaled to crop_size x crop_size:
// in every batch first the background's share, then the foreground's (fg_fraction). With
// context_pad or crop_mode "square" the window is grown by its surroundings; what lies outside of
// the image is zero.
class WindowSamples : public SampleSource {
 public:
  WindowSamples(const LayerParameter& param, const RunContext& context,
                const std::string& draw_name)
      : param_(param.window_data_param()),
        transform_(param.transform_param()),
        windows_(read_windows(param_.source(), param_)),
        key_(random_key(context.seed, draw_name)),
        world_(context.world),
        crop_(static_cast<int>(transform_.crop_size())) {
    CAFFE_REQUIRE(crop_ > 0, "WindowData needs transform_param { crop_size }");
    CAFFE_REQUIRE(param_.crop_mode() == "warp" || param_.crop_mode() == "square",
                  "found crop_mode ", param_.crop_mode(), ", expected warp or square");
    CAFFE_REQUIRE(2 * static_cast<int>(param_.context_pad()) < crop_, "found context_pad ",
                  param_.context_pad(), " for crop_size ", crop_, "; it must be less than half");
    foreground_rows_ =
        static_cast<int64_t>(static_cast<float>(param_.batch_size()) * param_.fg_fraction());
    const auto rows = static_cast<int64_t>(param_.batch_size());
    CAFFE_REQUIRE_CODE((foreground_rows_ == 0 || !windows_.foreground.empty()) &&
                           (foreground_rows_ == rows || !windows_.background.empty()),
                       ErrorCode::kData, "the window file '", param_.source(), "' has ",
                       windows_.foreground.size(), " foreground and ", windows_.background.size(),
                       " background windows; a batch needs ", foreground_rows_, " and ",
                       rows - foreground_rows_, ": change the thresholds or fg_fraction");
    load_mean();
    if (param_.cache_images()) {
      for (const std::string& image : windows_.images) cached_.push_back(bytes_of(image));
    }
  }

  int64_t size() const override { return std::numeric_limits<int64_t>::max() / 2; }
  const std::string& name() const override { return param_.source(); }
  std::string key(int64_t number) const override {
    return windows_.images[drawn(number).window.image];
  }

  Sample sample(int64_t number, Transformer::Scratch& scratch) const override {
    const Draw draw = drawn(number);
    const std::string& path = windows_.images[draw.window.image];
    if (cached_.empty()) {
      decode_image(bytes_of(path), ColorMode::kColor, scratch.image);
    } else {
      decode_image(cached_[draw.window.image], ColorMode::kColor, scratch.image);
    }
    scratch.floats.assign(static_cast<size_t>(3) * crop_ * crop_, 0.0f);
    cut(draw, scratch);
    Sample sample;
    sample.content.pixels.extents = {3, crop_, crop_};
    sample.content.floats = scratch.floats.data();
    sample.label = static_cast<float>(draw.window.label);
    return sample;
  }

 private:
  struct Draw {
    Window window;
    bool mirror;
  };
  // Where a window lies in its image, and where it goes in the crop.
  struct Placement {
    int x1, y1, x2, y2;
    int left = 0, right = 0, top = 0;  // pixels of the crop that stay zero
    int width, height;                 // of the scaled window
  };

  Draw drawn(int64_t position) const {
    const auto rows = static_cast<int64_t>(param_.batch_size());
    const int64_t row = position / world_ % rows;
    const bool background = row < rows - foreground_rows_;
    const std::vector<Window>& from = background ? windows_.background : windows_.foreground;
    RandomStream random(key_, static_cast<uint64_t>(position));
    const Window& window = from[random.below(static_cast<uint32_t>(from.size()))];
    return {window, transform_.mirror() && random.below(2) == 1};
  }

  std::string bytes_of(const std::string& image) const {
    return read_file(param_.root_folder() + image);
  }

  // The window grown so that it has context_pad pixels of surroundings after scaling.
  Placement grown(const Window& w, const Image& image) const {
    Placement place{w.x1, w.y1, w.x2, w.y2, 0, 0, 0, crop_, crop_};
    const bool square = param_.crop_mode() == "square";
    if (param_.context_pad() == 0 && !square) return place;
    const float grow = static_cast<float>(crop_) /
                       static_cast<float>(crop_ - 2 * static_cast<int>(param_.context_pad()));
    float half_height = static_cast<float>(w.y2 - w.y1 + 1) / 2;
    float half_width = static_cast<float>(w.x2 - w.x1 + 1) / 2;
    const float center_x = static_cast<float>(w.x1) + half_width;
    const float center_y = static_cast<float>(w.y1) + half_height;
    if (square) half_height = half_width = std::max(half_height, half_width);
    const auto at = [](float value) {
      return static_cast<int>(std::round(std::clamp(value, -0x1p29f, 0x1p29f)));
    };
    place.x1 = at(center_x - half_width * grow), place.x2 = at(center_x + half_width * grow);
    place.y1 = at(center_y - half_height * grow), place.y2 = at(center_y + half_height * grow);
    const float scale_x = static_cast<float>(crop_) / static_cast<float>(place.x2 - place.x1 + 1);
    const float scale_y = static_cast<float>(crop_) / static_cast<float>(place.y2 - place.y1 + 1);
    const int left = std::max(0, -place.x1), right = std::max(0, place.x2 - image.width + 1);
    const int top = std::max(0, -place.y1), bottom = std::max(0, place.y2 - image.height + 1);
    place.x1 += left, place.x2 -= right, place.y1 += top, place.y2 -= bottom;
    place.left = at(static_cast<float>(left) * scale_x);
    place.right = at(static_cast<float>(right) * scale_x);
    place.top = at(static_cast<float>(top) * scale_y);
    place.width = at(static_cast<float>(place.x2 - place.x1 + 1) * scale_x);
    place.height = at(static_cast<float>(place.y2 - place.y1 + 1) * scale_y);
    return place;
  }

  void cut(const Draw& draw, Transformer::Scratch& scratch) const {
    const Image& image = scratch.image;
    Placement place = grown(draw.window, image);
    CAFFE_REQUIRE_CODE(place.x1 >= 0 && place.y1 >= 0 && place.x2 < image.width &&
                           place.y2 < image.height && place.x1 <= place.x2 && place.y1 <= place.y2,
                       ErrorCode::kData, "is ", image.height, " x ", image.width,
                       ", too small for its window ", draw.window.x1, " ", draw.window.y1, " ",
                       draw.window.x2, " ", draw.window.y2, " (x1 y1 x2 y2)");
    const int left = draw.mirror ? place.right : place.left;
    place.width = std::clamp(place.width, 1, std::max(1, crop_ - left));
    place.height = std::clamp(place.height, 1, std::max(1, crop_ - place.top));
    Image window;
    window.reshape(3, place.y2 - place.y1 + 1, place.x2 - place.x1 + 1);
    for (int y = 0; y < window.height; ++y) {
      std::copy_n(
          image.pixels.data() + (static_cast<size_t>(place.y1 + y) * image.width + place.x1) * 3,
          static_cast<size_t>(window.width) * 3,
          window.pixels.data() + static_cast<size_t>(y) * window.width * 3);
    }
    resize_image(window, place.height, place.width, scratch.resized);
    write(scratch.resized, left, place.top, draw.mirror, scratch.floats.data());
  }

  void write(const Image& from, int left, int top, bool mirror, float* out) const {
    const float scale = transform_.scale();
    for (int y = 0; y < from.height && top + y < crop_; ++y) {
      for (int x = 0; x < from.width && left + x < crop_; ++x) {
        const int source = mirror ? from.width - 1 - x : x;
        const uint8_t* pixel =
            from.pixels.data() + (static_cast<size_t>(y) * from.width + source) * 3;
        for (int c = 0; c < 3; ++c) {
          out[(static_cast<size_t>(c) * crop_ + top + y) * crop_ + left + x] =
              (static_cast<float>(pixel[c]) - mean_at(c, top + y, left + x)) * scale;
        }
      }
    }
  }

  void load_mean() {
    const int values = transform_.mean_value_size();
    CAFFE_REQUIRE(
        values == 0 || !transform_.has_mean_file(),
        "transform_param has both mean_file and mean_value, expected at most one of them");
    CAFFE_REQUIRE(values == 0 || values == 1 || values == 3, "found ", values,
                  " mean_value entries; give one, or one per channel (3)");
    if (!transform_.has_mean_file()) return;
    BlobProto mean;
    read_message(transform_.mean_file(), "mean image", &mean);
    const auto& dims = mean.shape().dim();
    mean_height_ = static_cast<int>(dims.empty() ? mean.height() : dims[dims.size() - 2]);
    mean_width_ = static_cast<int>(dims.empty() ? mean.width() : dims[dims.size() - 1]);
    CAFFE_REQUIRE_CODE(mean_height_ >= crop_ && mean_width_ >= crop_ &&
                           mean.data_size() == int64_t{3} * mean_height_ * mean_width_,
                       ErrorCode::kData, "mean file ", transform_.mean_file(), " is for ",
                       mean_height_, " x ", mean_width_, " with ", mean.data_size(),
                       " values, expected 3 channels of at least crop_size ", crop_);
    mean_.assign(mean.data().begin(), mean.data().end());
  }
  // The mean image's middle part counts.
  float mean_at(int c, int y, int x) const {
    if (!mean_.empty()) {
      const int row = (mean_height_ - crop_) / 2 + y, column = (mean_width_ - crop_) / 2 + x;
      return mean_[(static_cast<size_t>(c) * mean_height_ + row) * mean_width_ + column];
    }
    if (transform_.mean_value_size() == 0) return 0;
    return transform_.mean_value(transform_.mean_value_size() == 1 ? 0 : c);
  }

  const WindowDataParameter param_;
  const TransformationParameter transform_;
  const WindowFile windows_;
  const uint64_t key_;
  const int world_;
  const int crop_;
  int64_t foreground_rows_ = 0;
  int mean_height_ = 0;
  int mean_width_ = 0;
  std::vector<float> mean_;
  std::vector<std::string> cached_;
};

// Batches of windows drawn from images, as R-CNN trains on (Girshick et al. 2014).
class WindowDataLayer : public BatchLayer<WindowDataLayer> {
 public:
  using BatchLayer::BatchLayer;

  void set_up(const Blobs&, const Blobs&) override {
    const WindowDataParameter& data = param().window_data_param();
    CAFFE_REQUIRE(!data.source().empty(), "window_data_param { source } is missing: a window file");
    CAFFE_REQUIRE(data.batch_size() > 0, "window_data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    start(std::make_shared<WindowSamples>(param(), context(), draw_name()),
          transformer(TransformationParameter()), data.batch_size());
  }
};

CAFFE_REGISTER_LAYER(WindowData, WindowDataLayer);

}  // namespace
}  // namespace caffe

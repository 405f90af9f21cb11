#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/layer.h"

namespace caffe {
namespace {

// The default boxes of a feature map (bottom 0) on an image (bottom 1): top 1 x 2 x (H W priors 4),
// in channel 0 xmin, ymin, xmax, ymax of each box in units of the image, in channel 1 the variances
// by which predictions are scaled. Boxes of a position, for each min_size: min_size; with max_size
// sqrt(min_size max_size); then one of min_size for each aspect ratio but 1. Liu et al., "SSD:
// Single Shot MultiBox Detector", 2016; as in the SSD fork (weiliu89/caffe, PriorBoxParameter =
// 203), which cuts fractions off min_size and max_size. The boxes depend on shapes alone: the
// bottoms' gradients are 0.
class PriorBoxLayer : public PortableLayer<PriorBoxLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  bool allow_force_backward(int) const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    check_image_and_step();
    read_variances();
    sizes_ = sizes_of_boxes();
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    for (size_t i = 0; i < 2; ++i) {
      CAFFE_REQUIRE(bottom[i]->shape().axes() == 4, "found bottom ", i, " of shape ",
                    bottom[i]->shape().str(), ", expected 4 axes");
    }
    const PriorBoxParameter& p = param().prior_box_param();
    const Shape& map = bottom[0]->shape();
    const Shape& image = bottom[1]->shape();
    rows_.extent = map[2];
    columns_.extent = map[3];
    rows_.image = p.has_img_h() ? p.img_h() : p.has_img_size() ? p.img_size() : image[2];
    columns_.image = p.has_img_w() ? p.img_w() : p.has_img_size() ? p.img_size() : image[3];
    for (Axis* axis : {&rows_, &columns_}) {
      CAFFE_REQUIRE(axis->extent > 0 && axis->image > 0, "found feature map ", map.str(),
                    " and image ", image.str(), "; both must have pixels");
      axis->step = static_cast<float>(axis->image) / static_cast<float>(axis->extent);
    }
    if (p.has_step()) rows_.step = columns_.step = p.step();
    if (p.has_step_h()) rows_.step = p.step_h(), columns_.step = p.step_w();
    const auto boxes = static_cast<int64_t>(sizes_.size());
    top[0]->reshape({1, 2, rows_.extent * columns_.extent * boxes * 4});
  }

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    T* boxes = top[0]->overwrite_data<T>();
    const int64_t n = top[0]->count() / 2;
    const bool clip = param().prior_box_param().clip();
    const float offset = param().prior_box_param().offset();
    T* out = boxes;
    for (int64_t h = 0; h < rows_.extent; ++h) {
      const float y = (static_cast<float>(h) + offset) * rows_.step;
      for (int64_t w = 0; w < columns_.extent; ++w) {
        const float x = (static_cast<float>(w) + offset) * columns_.step;
        for (const Size& size : sizes_) {
          *out++ = border<T>(x, -size.width, columns_.image, clip);
          *out++ = border<T>(y, -size.height, rows_.image, clip);
          *out++ = border<T>(x, size.width, columns_.image, clip);
          *out++ = border<T>(y, size.height, rows_.image, clip);
        }
      }
    }
    for (int64_t i = 0; i < n; ++i) boxes[n + i] = static_cast<T>(variances_[i % 4]);
  }

  template <typename T>
  void backward(const Blobs&, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (propagate_down[i]) {
        std::fill_n(bottom[i]->overwrite_diff<T>(), bottom[i]->count(), T{0});
      }
    }
  }

 private:
  struct Size {
    float width;
    float height;
  };
  struct Axis {
    int64_t extent = 0;  // of the feature map
    int64_t image = 0;
    float step = 0;
  };

  void check_image_and_step() const {
    const PriorBoxParameter& p = param().prior_box_param();
    CAFFE_REQUIRE(!(p.has_img_size() && (p.has_img_h() || p.has_img_w())),
                  "found both img_size and img_h or img_w in prior_box_param; give one");
    CAFFE_REQUIRE(!(p.has_step() && (p.has_step_h() || p.has_step_w())),
                  "found both step and step_h or step_w in prior_box_param; give one");
    CAFFE_REQUIRE(
        p.has_img_h() == p.has_img_w() && p.has_step_h() == p.has_step_w(),
        "found only one of a pair in prior_box_param; give both img_h and img_w, and both "
        "step_h and step_w");
    const bool image = (!p.has_img_size() || p.img_size() > 0) &&
                       (!p.has_img_h() || (p.img_h() > 0 && p.img_w() > 0));
    const bool step =
        (!p.has_step() || p.step() > 0) && (!p.has_step_h() || (p.step_h() > 0 && p.step_w() > 0));
    CAFFE_REQUIRE(image && step,
                  "found an image size or step that is not positive in prior_box_param");
  }

  void read_variances() {
    const PriorBoxParameter& p = param().prior_box_param();
    CAFFE_REQUIRE(p.variance_size() <= 1 || p.variance_size() == 4, "found ", p.variance_size(),
                  " variances in prior_box_param; give none, one or four");
    for (int i = 0; i < 4; ++i) {
      variances_[i] = p.variance_size() == 0 ? 0.1f : p.variance(p.variance_size() == 1 ? 0 : i);
      CAFFE_REQUIRE(variances_[i] > 0, "found variance ", variances_[i],
                    " in prior_box_param; it must be positive");
    }
  }

  std::vector<float> aspect_ratios() const {
    const PriorBoxParameter& p = param().prior_box_param();
    std::vector<float> all = {1};
    for (const float ratio : p.aspect_ratio()) {
      CAFFE_REQUIRE(ratio > 0, "found aspect_ratio ", ratio,
                    " in prior_box_param; it must be positive");
      const bool known = std::any_of(all.begin(), all.end(), [=](float other) {
        return std::abs(static_cast<double>(ratio - other)) < 1e-6;
      });
      if (known) continue;
      all.push_back(ratio);
      if (p.flip()) all.push_back(static_cast<float>(1.0 / ratio));
    }
    return all;
  }

  // Of the boxes of one position, in order.
  std::vector<Size> sizes_of_boxes() const {
    const PriorBoxParameter& p = param().prior_box_param();
    CAFFE_REQUIRE(p.min_size_size() > 0, "needs min_size in prior_box_param");
    CAFFE_REQUIRE(p.max_size_size() == 0 || p.max_size_size() == p.min_size_size(), "found ",
                  p.max_size_size(), " max_size for ", p.min_size_size(),
                  " min_size in prior_box_param; give none or one for each");
    std::vector<Size> all;
    for (int s = 0; s < p.min_size_size(); ++s) {
      CAFFE_REQUIRE(p.min_size(s) >= 1 && p.min_size(s) < 1e6, "found min_size ", p.min_size(s),
                    " in prior_box_param; expected 1 pixel or more");
      const double least = std::floor(p.min_size(s));
      all.push_back({static_cast<float>(least), static_cast<float>(least)});
      if (p.max_size_size() > 0) {
        CAFFE_REQUIRE(p.max_size(s) > p.min_size(s) && p.max_size(s) < 1e6, "found max_size ",
                      p.max_size(s), " for min_size ", p.min_size(s),
                      " in prior_box_param; it must be larger");
        const auto middle = static_cast<float>(std::sqrt(least * std::floor(p.max_size(s))));
        all.push_back({middle, middle});
      }
      for (const float ratio : aspect_ratios()) {
        if (std::abs(static_cast<double>(ratio) - 1) < 1e-6) continue;
        const double root = std::sqrt(static_cast<double>(ratio));
        all.push_back({static_cast<float>(least * root), static_cast<float>(least / root)});
      }
    }
    return all;
  }

  template <typename T>
  static T border(float center, float size, int64_t image, bool clip) {
    const T at = static_cast<T>((center + size / 2.0) / static_cast<double>(image));
    return clip ? std::clamp(at, T{0}, T{1}) : at;
  }

  std::vector<Size> sizes_;
  float variances_[4] = {};
  Axis rows_;
  Axis columns_;
};

CAFFE_REGISTER_LAYER(PriorBox, PriorBoxLayer);

}  // namespace
}  // namespace caffe

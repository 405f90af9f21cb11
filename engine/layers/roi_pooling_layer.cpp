#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "kernels/for_each.h"
#include "layers/indices.h"

namespace caffe {
namespace {

// Max pooling of regions to pooled_h x pooled_w cells each: bottom 0 N x C x H x W, bottom 1 one
// row (sample, x1, y1, x2, y2) per region, in pixels of the image, which spatial_scale brings to
// those of bottom 0. Borders are rounded and belong to the region; a cell without pixels is 0. As
// in Fast R-CNN's fork (rbgirshick/caffe-fast-rcnn, ROIPoolingParameter = 8266711); gradients,
// which it has on GPUs only, go to the pixels that won.
class ROIPoolingLayer : public PortableLayer<ROIPoolingLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void set_up(const Blobs&, const Blobs&) override {
    const ROIPoolingParameter& p = param().roi_pooling_param();
    CAFFE_REQUIRE(p.pooled_h() > 0 && p.pooled_w() > 0, "found pooled_h ", p.pooled_h(),
                  " and pooled_w ", p.pooled_w(),
                  " in roi_pooling_param; both must be given and be positive");
    CAFFE_REQUIRE(p.spatial_scale() > 0, "found spatial_scale ", p.spatial_scale(),
                  " in roi_pooling_param; it must be positive");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    in_ = bottom[0]->shape();
    const Shape& regions = bottom[1]->shape();
    CAFFE_REQUIRE(in_.axes() == 4, "found bottom ", in_.str(), ", expected 4 axes");
    CAFFE_REQUIRE(regions.axes() >= 2 && regions.count(1) == 5, "found regions of shape ",
                  regions.str(), ", expected rows of 5 numbers: sample, x1, y1, x2, y2");
    out_ = {regions[0], in_[1], param().roi_pooling_param().pooled_h(),
            param().roi_pooling_param().pooled_w()};
    winner_.resize(static_cast<size_t>(out_.count()));
    top[0]->reshape(out_);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    const T* rows = bottom[1]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    regions_.clear();
    for (int64_t r = 0; r < out_[0]; ++r) regions_.push_back(region(rows + r * 5, r));
    for_each_heavy(out_[0] * out_[1], [=, this](int64_t i) {
      const Region& region = regions_[static_cast<size_t>(i / out_[1])];
      const int64_t plane = region.sample * in_[1] + i % out_[1];
      pool(x + plane * in_.count(2), region, y + i * out_.count(2),
           winner_.data() + i * out_.count(2));
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (propagate_down[1]) {
      std::fill_n(bottom[1]->overwrite_diff<T>(), bottom[1]->count(), T{0});
    }
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, in_.count(), T{0});
    const int64_t channels = in_[1], pixels = in_.count(2), cells = out_.count(2);
    // Regions overlap, so each thread takes channels, and the regions one after another.
    for_each_heavy(channels, [=, this](int64_t c) {
      for (size_t r = 0; r < regions_.size(); ++r) {
        T* image = dx + (regions_[r].sample * channels + c) * pixels;
        const int64_t first = (static_cast<int64_t>(r) * channels + c) * cells;
        for (int64_t i = first; i < first + cells; ++i) {
          const int32_t at = winner_[static_cast<size_t>(i)];
          if (at >= 0) image[at] += dy[i];
        }
      }
    });
  }

 private:
  struct Span {
    int64_t begin;
    int64_t end;
  };
  struct Region {
    int64_t sample;
    std::vector<Span> rows;     // of bottom 0, per row of cells
    std::vector<Span> columns;  // per column of cells
  };

  template <typename T>
  Region region(const T* row, int64_t index) const {
    Region region;
    region.sample = checked_index(*this, row[0], in_[0], index * 5);
    const auto scale = static_cast<T>(param().roi_pooling_param().spatial_scale());
    int64_t pixel[5];
    for (int i = 1; i < 5; ++i) {
      CAFFE_REQUIRE_CODE(std::abs(row[i]) < T{1e9}, ErrorCode::kData, label(), " found ", row[i],
                         " as a coordinate of region ", index, "; correct the data");
      pixel[i] = static_cast<int64_t>(std::round(row[i] * scale));
    }
    region.columns = spans<T>(pixel[1], pixel[3], out_[3], in_[3]);
    region.rows = spans<T>(pixel[2], pixel[4], out_[2], in_[2]);
    return region;
  }

  // Cell i of `cells` between the pixels first and last, cut to the image.
  template <typename T>
  static std::vector<Span> spans(int64_t first, int64_t last, int64_t cells, int64_t extent) {
    const int64_t length = std::max<int64_t>(last - first + 1, 1);
    const T cell = static_cast<T>(length) / static_cast<T>(cells);
    std::vector<Span> all;
    for (int64_t i = 0; i < cells; ++i) {
      const auto begin = static_cast<int64_t>(std::floor(static_cast<T>(i) * cell));
      const auto end = static_cast<int64_t>(std::ceil(static_cast<T>(i + 1) * cell));
      all.push_back({std::clamp<int64_t>(begin + first, 0, extent),
                     std::clamp<int64_t>(end + first, 0, extent)});
    }
    return all;
  }

  template <typename T>
  void pool(const T* image, const Region& region, T* y, int32_t* winner) const {
    for (const Span& rows : region.rows) {
      for (const Span& columns : region.columns) {
        const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
        T largest = empty ? T{0} : static_cast<T>(-FLT_MAX);
        int64_t at = -1;
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            const int64_t i = h * in_[3] + w;
            if (image[i] > largest) largest = image[i], at = i;
          }
        }
        *y++ = largest;
        *winner++ = static_cast<int32_t>(at);
      }
    }
  }

  Shape in_;
  Shape out_;
  std::vector<Region> regions_;
  std::vector<int32_t> winner_;  // per cell: pixel in its plane, or -1
};

CAFFE_REGISTER_LAYER(ROIPooling, ROIPoolingLayer);

}  // namespace
}  // namespace caffe

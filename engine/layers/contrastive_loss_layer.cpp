#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

// Hadsell et al. 2006, for pairs (a, b) at distance d with y = 1 where they are alike: mean of
// y d^2 + (1 - y) max(margin - d, 0)^2, halved. legacy_version has max(margin - d^2, 0) instead.
class ContrastiveLossLayer : public LossLayer<ContrastiveLossLayer> {
 public:
  using LossLayer::LossLayer;

  Arity bottoms() const override { return Arity::exactly(3); }
  bool allow_force_backward(int index) const override { return index != 2; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& a = bottom[0]->shape();
    const Shape& b = bottom[1]->shape();
    const bool fits =
        a.axes() >= 1 && b.axes() >= 1 && a[0] == b[0] && values_of(a) == values_of(b);
    CAFFE_REQUIRE(fits && values_of(a) > 0, "found bottoms ", a.str(), " and ", b.str(),
                  "; both must be samples x values (x 1 x 1), of the same extents");
    CAFFE_REQUIRE(bottom[2]->count() == a[0], "found ", bottom[2]->count(), " labels for ", a[0],
                  " pairs; give one for each, 1 where the two are alike and 0 where not");
    rows_ = a[0];
    row_ = values_of(a);
    top[0]->reshape(Shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* a = bottom[0]->data_as<T>();
    const T* b = bottom[1]->data_as<T>();
    const T* alike = bottom[2]->data_as<T>();
    const double margin = param().contrastive_loss_param().margin();
    const bool legacy = param().contrastive_loss_param().legacy_version();
    double total = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      const double squared = squared_distance(a, b, r);
      if (static_cast<int>(alike[r]) != 0) {
        total += squared;
      } else if (legacy) {
        total += std::max(margin - squared, 0.0);
      } else {
        const double gap = std::max(margin - std::sqrt(squared), 0.0);
        total += gap * gap;
      }
    }
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / 2 / static_cast<double>(rows_));
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down[2], label(), " has no gradient for labels (bottom 2)");
    const T* a = bottom[0]->data_as<T>();
    const T* b = bottom[1]->data_as<T>();
    const T* alike = bottom[2]->data_as<T>();
    const double weight = static_cast<double>(top[0]->diff_as<T>()[0]) / static_cast<double>(rows_);
    for (size_t k = 0; k < 2; ++k) {
      if (!propagate_down[k]) continue;
      T* dx = bottom[k]->overwrite_diff<T>();
      for (int64_t r = 0; r < rows_; ++r) {
        const double factor = slope(squared_distance(a, b, r), static_cast<int>(alike[r]) != 0);
        const T scale = static_cast<T>((k == 0 ? weight : -weight) * factor);
        for (int64_t i = r * row_; i < (r + 1) * row_; ++i) dx[i] = scale * (a[i] - b[i]);
      }
    }
  }

 private:
  // Per sample, all on axis 1; -1 where there are some on other axes.
  static int64_t values_of(const Shape& shape) {
    return shape.axes() > 2 && shape.count(2) != 1 ? -1 : shape.extent_or_one(1);
  }

  template <typename T>
  double squared_distance(const T* a, const T* b, int64_t row) const {
    const T* p = a + row * row_;
    const T* q = b + row * row_;
    return sum<T>(row_, [=](int64_t i) { return (p[i] - q[i]) * (p[i] - q[i]); });
  }
  // What a - b is multiplied by in the gradient of a. The distance is kept off zero as in Caffe.
  double slope(double squared, bool alike) const {
    const auto& p = param().contrastive_loss_param();
    if (alike) return 1;
    if (p.legacy_version()) return p.margin() - squared > 0 ? -1 : 0;
    const double distance = std::sqrt(squared);
    return p.margin() - distance > 0 ? -(p.margin() - distance) / (distance + 1e-4) : 0;
  }

  int64_t rows_ = 1;
  int64_t row_ = 1;
};

CAFFE_REGISTER_LAYER(ContrastiveLoss, ContrastiveLossLayer);

}  // namespace
}  // namespace caffe

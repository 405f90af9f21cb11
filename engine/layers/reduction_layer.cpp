#include <cmath>

#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Sum, sum of magnitudes, sum of squares or mean over all axes from `axis` on, times `coeff`.
class ReductionLayer : public PortableLayer<ReductionLayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().reduction_param().axis());
    Shape out;
    for (int i = 0; i < axis; ++i) out.push_back(in[i]);
    rows_ = out.count();
    row_ = in.count(axis);
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const int64_t n = row_, rows = rows_;
    const auto operation = param().reduction_param().operation();
    const double factor = coefficient();
    const auto reduce_rows = [=](const auto& term) {
      for_each_heavy(rows, [=](int64_t r) {
        const T* row = x + r * n;
        y[r] = static_cast<T>(factor * sum<T>(n, [=](int64_t i) { return term(row[i]); }));
      });
    };
    switch (operation) {
      case ReductionParameter::ASUM:
        return reduce_rows([](T value) { return std::abs(value); });
      case ReductionParameter::SUMSQ:
        return reduce_rows([](T value) { return value * value; });
      default:
        return reduce_rows([](T value) { return value; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* x = bottom[0]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    const int64_t n = row_;
    const auto operation = param().reduction_param().operation();
    const T factor = static_cast<T>(coefficient());
    for_each_heavy(rows_, [=](int64_t r) {
      const T g = factor * dy[r];
      for (int64_t i = r * n; i < (r + 1) * n; ++i) {
        dx[i] = operation == ReductionParameter::ASUM ? g * static_cast<T>((x[i] > 0) - (x[i] < 0))
                : operation == ReductionParameter::SUMSQ ? 2 * g * x[i]
                                                         : g;
      }
    });
  }

 private:
  double coefficient() const {
    const auto& p = param().reduction_param();
    const double coeff = p.coeff();
    return p.operation() == ReductionParameter::MEAN ? coeff / static_cast<double>(row_) : coeff;
  }

  int64_t rows_ = 1;
  int64_t row_ = 1;  // elements that become one
};

CAFFE_REGISTER_LAYER(Reduction, ReductionLayer);

}  // namespace
}  // namespace caffe

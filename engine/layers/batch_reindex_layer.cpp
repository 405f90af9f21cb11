#include <algorithm>

#include "kernels/for_each.h"
#include "layers/indices.h"

namespace caffe {
namespace {

// Row i of the top is row index[i] of bottom 0; bottom 1 holds the indices. A row taken several
// times gets the sum of the gradients.
class BatchReindexLayer : public PortableLayer<BatchReindexLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(bottom[1]->shape().axes() == 1, "found indices of shape ",
                  bottom[1]->shape().str(), "; bottom 1 must have one axis");
    CAFFE_REQUIRE(in.axes() > 0, "found a bottom 0 without axes; there are no rows to choose from");
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    Shape out = in;
    out[0] = bottom[1]->shape()[0];
    row_ = in.count(1);
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* index = bottom[1]->data_as<T>();
    for (int64_t i = 0; i < bottom[1]->count(); ++i) {
      checked_index(*this, index[i], bottom[0]->shape(0), i);
    }
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const int64_t row = row_;
    for_each_heavy(bottom[1]->count(), [=](int64_t i) {
      std::copy_n(x + static_cast<int64_t>(index[i]) * row, row, y + i * row);
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down[1], label(), " has no gradient for indices (bottom 1)");
    if (!propagate_down[0]) return;
    const T* index = bottom[1]->data_as<T>();
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, bottom[0]->count(), T{0});
    const int64_t row = row_;
    for (int64_t i = 0; i < bottom[1]->count(); ++i) {
      T* sum = dx + static_cast<int64_t>(index[i]) * row;
      for_each(row, [=](int64_t j) { sum[j] += dy[i * row + j]; });
    }
  }

 private:
  int64_t row_ = 1;
};

CAFFE_REGISTER_LAYER(BatchReindex, BatchReindexLayer);

}  // namespace
}  // namespace caffe

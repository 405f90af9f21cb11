#include <algorithm>
#include <vector>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Puts the axes into another order: axis order(i) of the bottom becomes axis i of the top; axes
// that permute_param does not name follow in the order they had. As in the SSD fork
// (weiliu89/caffe, PermuteParameter = 202).
class PermuteLayer : public PortableLayer<PermuteLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs& bottom, const Blobs&) override {
    const int axes = bottom[0]->shape().axes();
    order_.clear();
    for (const uint32_t axis : param().permute_param().order()) {
      CAFFE_REQUIRE(axis < static_cast<uint32_t>(axes), "found axis ", axis,
                    " in the order of permute_param, expected 0 to ", axes - 1, " for bottom ",
                    bottom[0]->shape().str());
      CAFFE_REQUIRE(!has(static_cast<int>(axis)), "found axis ", axis,
                    " twice in the order of permute_param; name each axis once");
      order_.push_back(static_cast<int>(axis));
    }
    for (int axis = 0; axis < axes; ++axis) {
      if (!has(axis)) order_.push_back(axis);
    }
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() == static_cast<int>(order_.size()), "found bottom ", in.str(),
                  ", expected ", order_.size(), " axes as when the net was built");
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    Shape out;
    steps_.clear();
    for (const int axis : order_) {
      out.push_back(in[axis]);
      steps_.push_back(in.count(axis + 1));
    }
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each_row(top[0]->shape(), [=](int64_t start, int64_t step, int64_t row, int64_t n) {
      for (int64_t i = 0; i < n; ++i) y[row * n + i] = x[start + i * step];
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_row(top[0]->shape(), [=](int64_t start, int64_t step, int64_t row, int64_t n) {
      for (int64_t i = 0; i < n; ++i) dx[start + i * step] = dy[row * n + i];
    });
  }

 private:
  bool has(int axis) const { return std::find(order_.begin(), order_.end(), axis) != order_.end(); }

  // work(start in the bottom, step in the bottom, row, elements) for every row along the top's last
  // axis.
  template <typename Work>
  void for_each_row(const Shape& top, const Work& work) const {
    const int last = top.axes() - 1;
    if (last < 0) {
      work(0, 1, 0, 1);
      return;
    }
    if (top.count() == 0) return;
    for_each_heavy(top.count(0, last), [&](int64_t row) {
      int64_t rest = row;
      int64_t start = 0;
      for (int i = last - 1; i >= 0; --i) {
        start += rest % top[i] * steps_[static_cast<size_t>(i)];
        rest /= top[i];
      }
      work(start, steps_.back(), row, top[last]);
    });
  }

  std::vector<int> order_;      // per axis of the top: the bottom's
  std::vector<int64_t> steps_;  // per axis of the top: distance of neighbours in the bottom
};

CAFFE_REGISTER_LAYER(Permute, PermuteLayer);

}  // namespace
}  // namespace caffe

#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Lets through the rows for which the last bottom, the selector, is not zero: top i has those of
// bottom i. How many they are, perhaps none, shows only when forward runs; until then the tops are
// shaped for all.
class FilterLayer : public PortableLayer<FilterLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::at_least(2); }
  Arity tops() const override { return Arity::at_least(1); }
  bool shapes_tops_by_value() const override { return true; }
  bool allow_force_backward(int index) const override { return index + 1 < param().bottom_size(); }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    CAFFE_REQUIRE(top.size() + 1 == bottom.size(), "found ", top.size(), " tops for ",
                  bottom.size(), " bottoms; expected one top for each bottom but the selector");
    const Shape& selector = bottom.back()->shape();
    CAFFE_REQUIRE(selector.axes() > 0 && selector.count(1) == 1, "found a selector of shape ",
                  selector.str(), ", expected one number per row");
    for (size_t i = 0; i < top.size(); ++i) {
      const Shape& in = bottom[i]->shape();
      CAFFE_REQUIRE(top[i] != bottom[i], "cannot work in place; give its tops names of their own");
      CAFFE_REQUIRE(in.axes() > 0 && in[0] == selector[0], "bottom ", i, " has shape ", in.str(),
                    "; it needs as many rows as the selector, ", selector[0]);
      top[i]->reshape(in);
    }
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* selector = bottom.back()->data_as<T>();
    chosen_.clear();
    for (int64_t row = 0; row < bottom.back()->count(); ++row) {
      if (selector[row] != 0) chosen_.push_back(row);
    }
    for (size_t i = 0; i < top.size(); ++i) {
      Shape out = bottom[i]->shape();
      out[0] = static_cast<int64_t>(chosen_.size());
      top[i]->reshape(out);
      const T* x = bottom[i]->data_as<T>();
      T* y = top[i]->overwrite_data<T>();
      const int64_t n = out.count(1);
      const int64_t* rows = chosen_.data();
      for_each_heavy(out[0], [=](int64_t j) { std::copy_n(x + rows[j] * n, n, y + j * n); });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down.back(), label(), " has no gradient for its selector");
    for (size_t i = 0; i < top.size(); ++i) {
      if (!propagate_down[i]) continue;
      const T* dy = top[i]->diff_as<T>();
      T* dx = bottom[i]->overwrite_diff<T>();
      std::fill_n(dx, bottom[i]->count(), T{0});
      const int64_t n = bottom[i]->shape().count(1);
      const int64_t* rows = chosen_.data();
      for_each_heavy(top[i]->shape(0),
                     [=](int64_t j) { std::copy_n(dy + j * n, n, dx + rows[j] * n); });
    }
  }

 private:
  std::vector<int64_t> chosen_;  // rows, in order
};

CAFFE_REGISTER_LAYER(Filter, FilterLayer);

}  // namespace
}  // namespace caffe

#include <algorithm>
#include <functional>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// The top_k largest values along an axis, largest first: their indices, or with out_max_val the
// values. Without an axis, each sample is one row, the top is N x 1 x k, and with out_max_val N x 2
// x k, indices above values. Of equal values the one with the larger index comes first. No
// gradient.
class ArgMaxLayer : public PortableLayer<ArgMaxLayer> {
 public:
  using PortableLayer::PortableLayer;

  bool has_backward() const override { return false; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().argmax_param();
    const Shape& in = bottom[0]->shape();
    k_ = p.top_k();
    Shape out;
    if (p.has_axis()) {
      const int axis = in.canonical_axis(p.axis());
      candidates_ = in[axis];
      distance_ = in.count(axis + 1);
      out = in;
      out[axis] = k_;
    } else {
      CAFFE_REQUIRE(in.axes() > 0, "found a bottom without axes; expected one row per sample");
      candidates_ = in.count(1);
      distance_ = 1;
      for (int i = 0; i < std::max(in.axes(), 3); ++i) out.push_back(1);
      out[0] = in[0];
      out[1] = p.out_max_val() ? 2 : 1;
      out[2] = k_;
    }
    CAFFE_REQUIRE(k_ >= 1 && k_ <= candidates_, "found top_k ", k_, " in argmax_param for ",
                  candidates_, " values (bottom ", in.str(), "); it must be from 1 to ",
                  candidates_);
    rows_ = in.count() / std::max<int64_t>(candidates_, 1);
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const bool by_axis = param().argmax_param().has_axis();
    const bool values = param().argmax_param().out_max_val();
    const int64_t candidates = candidates_, distance = distance_, k = k_;
    for_each_heavy(rows_, [=](int64_t row) {
      std::vector<std::pair<T, int64_t>> found;
      for (int64_t c = 0; c < candidates; ++c) {
        found.emplace_back(x[(row / distance * candidates + c) * distance + row % distance], c);
      }
      std::partial_sort(found.begin(), found.begin() + k, found.end(), std::greater<>());
      for (int64_t j = 0; j < k; ++j) {
        const auto& [value, index] = found[static_cast<size_t>(j)];
        const T which = static_cast<T>(index);
        if (by_axis) {
          y[(row / distance * k + j) * distance + row % distance] = values ? value : which;
        } else if (values) {
          y[2 * row * k + j] = which;
          y[(2 * row + 1) * k + j] = value;
        } else {
          y[row * k + j] = which;
        }
      }
    });
  }

 private:
  int64_t k_ = 1;
  int64_t rows_ = 1;
  int64_t candidates_ = 1;  // values per row
  int64_t distance_ = 1;    // between neighbours of a row
};

CAFFE_REGISTER_LAYER(ArgMax, ArgMaxLayer);

}  // namespace
}  // namespace caffe

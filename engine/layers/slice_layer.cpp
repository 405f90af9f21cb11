#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Cuts the bottom along an axis: at the slice_points, or into equal parts. A single top shares its
// memory with the bottom.
class SliceLayer : public PortableLayer<SliceLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity tops() const override { return Arity::at_least(1); }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& p = param().slice_param();
    CAFFE_REQUIRE(!(p.has_axis() && p.has_slice_dim()),
                  "found both axis and slice_dim in slice_param; give axis alone");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().slice_param();
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(!p.has_slice_dim() || p.slice_dim() < static_cast<uint32_t>(in.axes()),
                  "slice_dim ", p.slice_dim(), " is out of range for the ", in.axes(), "-D bottom ",
                  in.str());
    const int axis =
        in.canonical_axis(p.has_slice_dim() ? static_cast<int>(p.slice_dim()) : p.axis());
    const std::vector<int64_t> ends = cuts(in, axis, top.size());
    int64_t begin = 0;
    for (size_t i = 0; i < top.size(); ++i) {
      CAFFE_REQUIRE(top[i] != bottom[0], "cannot work in place; give its tops names of their own");
      Shape out = in;
      out[axis] = ends[i] - begin;
      begin = ends[i];
      top[i]->reshape(out);
    }
    if (top.size() == 1) {
      top[0]->share_data(*bottom[0]);
      top[0]->share_diff(*bottom[0]);
    }
    outer_ = in.count(0, axis);
    row_ = in.count(axis);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    if (top.size() == 1) return;
    const T* x = bottom[0]->data_as<T>();
    for_each_part(top, [&](const Blob& part, int64_t offset, int64_t n) {
      T* y = part.overwrite_data<T>();
      const int64_t row = row_;
      for_each_heavy(outer_, [=](int64_t o) { std::copy_n(x + o * row + offset, n, y + o * n); });
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0] || top.size() == 1) return;
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_part(top, [&](const Blob& part, int64_t offset, int64_t n) {
      const T* dy = part.diff_as<T>();
      const int64_t row = row_;
      for_each_heavy(outer_, [=](int64_t o) { std::copy_n(dy + o * n, n, dx + o * row + offset); });
    });
  }

 private:
  // Where each part ends along the axis.
  std::vector<int64_t> cuts(const Shape& in, int axis, size_t parts) const {
    const auto& points = param().slice_param().slice_point();
    std::vector<int64_t> ends(points.begin(), points.end());
    if (ends.empty()) {
      const auto count = static_cast<int64_t>(parts);
      CAFFE_REQUIRE(in[axis] % count == 0, "cannot cut axis ", axis, " of bottom ", in.str(),
                    " into ", count, " equal parts; give slice_points");
      for (int64_t i = 1; i <= count; ++i) ends.push_back(in[axis] / count * i);
      return ends;
    }
    CAFFE_REQUIRE(ends.size() + 1 == parts, "found ", ends.size(), " slice_points for ", parts,
                  " tops; expected one less than tops");
    ends.push_back(in[axis]);
    int64_t before = 0;
    for (const int64_t end : ends) {
      CAFFE_REQUIRE(end > before, "the slice_points must rise from 1 to less than ", in[axis],
                    ", the extent of axis ", axis, " of bottom ", in.str(), "; found ", end,
                    " after ", before);
      before = end;
    }
    return ends;
  }

  // work(part, its offset in a row of the bottom, its elements per row) for every top.
  template <typename Work>
  void for_each_part(const Blobs& top, const Work& work) const {
    int64_t offset = 0;
    for (const Blob* part : top) {
      const int64_t n = part->count() / std::max<int64_t>(outer_, 1);
      work(*part, offset, n);
      offset += n;
    }
  }

  int64_t outer_ = 1;
  int64_t row_ = 1;  // elements of the bottom per index of `outer_`
};

CAFFE_REGISTER_LAYER(Slice, SliceLayer);

}  // namespace
}  // namespace caffe

#include "layers/layer.h"

namespace caffe {
namespace {

// Merges axes `axis` to `end_axis` into one; with end_axis = axis - 1, which are none, an axis of
// extent 1 comes in. Top and bottom share their memory.
class FlattenLayer : public PortableLayer<FlattenLayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    const Shape& in = bottom[0]->shape();
    const int begin = in.canonical_axis(param().flatten_param().axis());
    const int end = in.canonical_axis(param().flatten_param().end_axis());
    CAFFE_REQUIRE(begin <= end + 1, "found axis ", begin, " after end_axis ", end,
                  " in flatten_param");
    Shape out;
    for (int i = 0; i < begin; ++i) out.push_back(in[i]);
    out.push_back(in.count(begin, end + 1));
    for (int i = end + 1; i < in.axes(); ++i) out.push_back(in[i]);
    top[0]->reshape(out);
    top[0]->share_data(*bottom[0]);
    top[0]->share_diff(*bottom[0]);
  }

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}
};

CAFFE_REGISTER_LAYER(Flatten, FlattenLayer);

}  // namespace
}  // namespace caffe

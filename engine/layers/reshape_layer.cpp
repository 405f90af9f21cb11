#include "layers/layer.h"

namespace caffe {
namespace {

// Another shape for the same numbers: extents of `shape` replace axes [axis, axis + num_axes) of
// the bottom; 0 copies the extent at the same place, one -1 is inferred. Top and bottom share their
// memory.
class ReshapeLayer : public PortableLayer<ReshapeLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs&, const Blobs&) override {
    int inferred = 0;
    for (const int64_t dim : param().reshape_param().shape().dim()) {
      CAFFE_REQUIRE(dim >= -1, "found extent ", dim,
                    " in reshape_param, expected -1 (inferred), 0 (copied) or more");
      inferred += dim == -1;
    }
    CAFFE_REQUIRE(inferred <= 1, "found ", inferred,
                  " extents -1 in reshape_param; only one can be inferred");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    const Shape& in = bottom[0]->shape();
    const auto& p = param().reshape_param();
    const int begin = p.axis() >= 0 ? p.axis() : in.axes() + p.axis() + 1;
    CAFFE_REQUIRE(begin >= 0 && begin <= in.axes(), "axis ", p.axis(),
                  " in reshape_param is out of range for the ", in.axes(), "-D bottom ", in.str());
    CAFFE_REQUIRE(p.num_axes() >= -1, "found num_axes ", p.num_axes(),
                  " in reshape_param, expected -1 or more");
    const int end = p.num_axes() == -1 ? in.axes() : begin + p.num_axes();
    CAFFE_REQUIRE(end <= in.axes(), "axis ", begin, " and num_axes ", p.num_axes(),
                  " in reshape_param reach past the ", in.axes(), "-D bottom ", in.str());
    top[0]->reshape(new_shape(in, begin, end));
    top[0]->share_data(*bottom[0]);
    top[0]->share_diff(*bottom[0]);
  }

  template <typename T>
  void forward(const Blobs&, const Blobs&) {}

 private:
  Shape new_shape(const Shape& in, int begin, int end) const {
    const auto& dims = param().reshape_param().shape().dim();
    Shape out;
    int inferred = -1;
    for (int i = 0; i < begin; ++i) out.push_back(in[i]);
    for (int i = 0; i < dims.size(); ++i) {
      int64_t dim = dims.Get(i);
      if (dim == 0) {
        CAFFE_REQUIRE(begin + i < in.axes(), "extent 0 at place ", i,
                      " in reshape_param copies axis ", begin + i, ", which the ", in.axes(),
                      "-D bottom ", in.str(), " does not have");
        dim = in[begin + i];
      } else if (dim == -1) {
        inferred = out.axes();
        dim = 1;
      }
      out.push_back(dim);
    }
    for (int i = end; i < in.axes(); ++i) out.push_back(in[i]);
    if (inferred >= 0) {
      const int64_t known = out.count();
      CAFFE_REQUIRE(known > 0 && in.count() % known == 0, "the bottom's count ", in.count(), " (",
                    in.str(), ") must be divisible by the product of the given extents (", known,
                    ")");
      out[inferred] = in.count() / known;
    }
    CAFFE_REQUIRE(out.count() == in.count(), "the new shape ", out.str(),
                  " and the bottom's shape ", in.str(), " must have the same count");
    return out;
  }
};

CAFFE_REGISTER_LAYER(Reshape, ReshapeLayer);

}  // namespace
}  // namespace caffe

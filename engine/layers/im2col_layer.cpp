#include "kernels/im2col.h"

#include "kernels/for_each.h"
#include "layers/convolution_window.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// The patches under a convolution's window as columns: the top has channels x kernel size
// channels, and the extent of the convolution's output.
class Im2colLayer : public PortableLayer<Im2colLayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().convolution_param();
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(p.axis());
    window_ = convolution_window(p, in);
    samples_ = in.count(0, axis);
    channels_ = in[axis];
    Shape out;
    for (int i = 0; i < axis; ++i) out.push_back(in[i]);
    out.push_back(channels_ * window_.kernel_size());
    for (const int64_t extent : window_.output) out.push_back(extent);
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for (int64_t n = 0; n < samples_; ++n) {
      im2col(window_, channels_, x + n * image(), y + n * columns());
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for (int64_t n = 0; n < samples_; ++n) {
      col2im(window_, channels_, dy + n * columns(), dx + n * image());
    }
  }

 private:
  int64_t image() const { return channels_ * window_.image_size(); }
  int64_t columns() const { return channels_ * window_.kernel_size() * window_.output_size(); }

  Window window_;
  int64_t samples_ = 1;
  int64_t channels_ = 1;
};

CAFFE_REGISTER_LAYER(Im2col, Im2colLayer);

}  // namespace
}  // namespace caffe

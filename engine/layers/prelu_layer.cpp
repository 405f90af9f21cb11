#include <algorithm>

#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = x where x > 0, else slope * x, with a learned slope per channel (axis 1) or, channel_shared,
// one for all (He et al. 2015). At 0 the gradient is slope's.
class PReLULayer : public PortableLayer<PReLULayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = param().prelu_param();
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() >= 2, "found bottom ", in.str(),
                  ", expected at least 2 axes, the second of them the channels");
    FillerParameter filler = p.filler();
    if (!p.has_filler()) filler.set_value(0.25f);
    add_parameter(p.channel_shared() ? Shape() : Shape{in[1]}, filler);
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    middle_ = {in.count(0, 1), in[1], in.count(2)};
    if (param().prelu_param().channel_shared()) {
      middle_ = {1, 1, in.count()};
    } else {
      CAFFE_REQUIRE(in[1] == blobs()[0]->count(), "found bottom ", in.str(), ", expected ",
                    blobs()[0]->count(), " channels, for which the slopes were made");
    }
    if (top[0] != bottom[0]) top[0]->reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* slope = blobs()[0]->data_as<T>();
    const T* x = bottom[0]->data_as<T>();
    if (top[0] == bottom[0]) {  // backward needs x
      auto* kept = static_cast<T*>(kept_input(bottom[0]->count()).write());
      std::copy_n(x, bottom[0]->count(), kept);
      x = kept;
    }
    T* y = top[0]->overwrite_data<T>();
    for_each_with_middle(middle_,
                         [=](int64_t i, int64_t c) { y[i] = x[i] > 0 ? x[i] : slope[c] * x[i]; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    Buffer& input = top[0] == bottom[0] ? kept_input(bottom[0]->count()) : bottom[0]->data();
    const T* x = static_cast<const T*>(input.read());
    const T* dy = top[0]->diff_as<T>();
    if (learns(0)) {
      T* gradient = blobs()[0]->update_diff<T>();
      sum_over_middle<T>(
          middle_, [=](int64_t i, int64_t) { return x[i] > 0 ? T{0} : x[i] * dy[i]; },
          [=](int64_t c, double total) { gradient[c] += static_cast<T>(total); });
    }
    if (!propagate_down[0]) return;
    const T* slope = blobs()[0]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_with_middle(
        middle_, [=](int64_t i, int64_t c) { dx[i] = x[i] > 0 ? dy[i] : slope[c] * dy[i]; });
  }

 private:
  Middle middle_;
};

CAFFE_REGISTER_LAYER(PReLU, PReLULayer);

}  // namespace
}  // namespace caffe

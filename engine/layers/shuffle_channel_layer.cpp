#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Interleaves `group` equal groups of channels: channel j of group i becomes channel j group + i.
// As in the forks for ShuffleNet (farmingyard/ShuffleNet, ShuffleChannelParameter = 164).
class ShuffleChannelLayer : public PortableLayer<ShuffleChannelLayer> {
 public:
  using PortableLayer::PortableLayer;

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    group_ = param().shuffle_channel_param().group();
    CAFFE_REQUIRE(in.axes() >= 2, "found bottom ", in.str(), ", expected at least 2 axes");
    CAFFE_REQUIRE(group_ > 0 && in[1] % group_ == 0, "found group ", group_,
                  " in shuffle_channel_param for ", in[1], " channels; group must divide them");
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    channels_ = in[1];
    planes_ = in.count(0, 2);
    plane_ = in.count(2);
    top[0]->reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    for_each_plane([=](int64_t in, int64_t out, int64_t n) { std::copy_n(x + in, n, y + out); });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_plane([=](int64_t in, int64_t out, int64_t n) { std::copy_n(dy + out, n, dx + in); });
  }

 private:
  // work(start in the bottom, start in the top, elements) for every channel of every sample.
  template <typename Work>
  void for_each_plane(const Work& work) const {
    const int64_t channels = channels_, group = group_, n = plane_;
    for_each_heavy(planes_, [=](int64_t plane) {
      const int64_t channel = plane % channels;
      const int64_t first = plane - channel;
      const int64_t of_group = channels / group;
      const int64_t to = channel % of_group * group + channel / of_group;
      work(plane * n, (first + to) * n, n);
    });
  }

  int64_t group_ = 1;
  int64_t channels_ = 0;
  int64_t planes_ = 0;  // samples x channels
  int64_t plane_ = 0;   // elements
};

CAFFE_REGISTER_LAYER(ShuffleChannel, ShuffleChannelLayer);

}  // namespace
}  // namespace caffe

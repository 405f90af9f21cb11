#include <vector>

#include "core/random.h"
#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// In training each value is dropped with probability dropout_ratio, else multiplied by 1 / (1 -
// ratio). In testing: y = x. A draw depends on seed, layer name, the record's global position and
// the element's place in its row, so neither on the number of workers nor on a restart. Srivastava
// et al., "Dropout", 2014.
class DropoutLayer : public PortableLayer<DropoutLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs&, const Blobs&) override {
    const float ratio = param().dropout_param().dropout_ratio();
    CAFFE_REQUIRE(ratio >= 0 && ratio < 1,
                  "dropout_ratio must be at least 0 and below 1 in dropout_param, found ", ratio);
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    if (top[0] != bottom[0]) top[0]->reshape(in);
    rows_ = in.axes() > 0 ? in[0] : 1;
    if (training()) kept_.resize(static_cast<size_t>(in.count()));
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    if (training()) draw(bottom[0]->count());
    const T* x = bottom[0]->data_as<T>();
    apply(x, top[0]->overwrite_data<T>(), bottom[0]->count());
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    apply(dy, bottom[0]->overwrite_diff<T>(), bottom[0]->count());
  }

 private:
  void draw(int64_t count) {
    const Philox philox(random_key(context().seed, draw_name()));
    const double ratio = param().dropout_param().dropout_ratio();
    const auto limit = static_cast<uint64_t>(ratio * 0x1.0p32);
    const int64_t row = count / std::max<int64_t>(rows_, 1);
    const int64_t blocks = (row + 3) / 4;
    const int64_t rows = rows_;
    const RunContext& run = context();
    uint8_t* kept = kept_.data();
    for_each_heavy(rows, [=, &run](int64_t r) {
      const auto position = static_cast<uint64_t>((run.pass * rows + r) * run.world + run.rank);
      uint8_t* mask = kept + r * row;
      for (int64_t b = 0; b < blocks; ++b) {
        const auto words = philox.block(static_cast<uint64_t>(b), position);
        const int64_t end = std::min<int64_t>(row - b * 4, 4);
        for (int64_t i = 0; i < end; ++i) mask[b * 4 + i] = words[static_cast<size_t>(i)] >= limit;
      }
    });
  }

  template <typename T>
  void apply(const T* from, T* to, int64_t count) const {
    if (!training()) {
      if (from != to) for_each(count, [=](int64_t i) { to[i] = from[i]; });
      return;
    }
    const uint8_t* kept = kept_.data();
    const T scale = 1 / (1 - static_cast<T>(param().dropout_param().dropout_ratio()));
    for_each(count, [=](int64_t i) { to[i] = kept[i] ? from[i] * scale : T{0}; });
  }

  int64_t rows_ = 0;
  std::vector<uint8_t> kept_;  // per element, for backward
};

CAFFE_REGISTER_LAYER(Dropout, DropoutLayer);

}  // namespace
}  // namespace caffe

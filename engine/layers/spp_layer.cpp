#include <algorithm>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Spatial pyramid pooling (He et al. 2014): level l pools into 2^l x 2^l bins; all levels' bins,
// flattened, make one row per sample, whatever the size of the image. A pyramid of one level stays
// N x C x 1 x 1.
class SPPLayer : public PortableLayer<SPPLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs&, const Blobs&) override {
    CAFFE_REQUIRE(
        param().spp_param().pyramid_height() > 0 && param().spp_param().pyramid_height() < 16,
        "found pyramid_height ", param().spp_param().pyramid_height(),
        " in spp_param; it must be given, from 1 to 15");
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() == 4, "found bottom ", in.str(), ", expected N x C x H x W");
    levels_.clear();
    int64_t row = 0;
    for (uint32_t l = 0; l < param().spp_param().pyramid_height(); ++l) {
      Level level = make_level(in, int64_t{1} << l);
      level.pooling->set_up({bottom[0]}, {level.top.get()});
      level.pooling->reshape({bottom[0]}, {level.top.get()});
      level.row = level.top->shape().count(1);
      row += level.row;
      levels_.push_back(std::move(level));
    }
    if (levels_.size() == 1) {
      top[0]->reshape(levels_[0].top->shape());
    } else {
      top[0]->reshape({in[0], row});
    }
    gradient_.reshape(in);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    T* y = top[0]->overwrite_data<T>();
    const int64_t stride = top[0]->shape().count(1);
    int64_t offset = 0;
    for (const Level& level : levels_) {
      level.pooling->run_forward({bottom[0]}, {level.top.get()});
      const T* part = level.top->data_as<T>();
      const int64_t n = level.row;
      for_each_heavy(bottom[0]->shape(0),
                     [=](int64_t s) { std::copy_n(part + s * n, n, y + s * stride + offset); });
      offset += n;
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    if (!propagate_down[0]) return;
    const T* dy = top[0]->diff_as<T>();
    const int64_t stride = top[0]->shape().count(1);
    T* dx = bottom[0]->overwrite_diff<T>();
    std::fill_n(dx, bottom[0]->count(), T{0});
    // The levels pool a stand-in for the bottom that shares its data and has a gradient of its own.
    gradient_.share_data(*bottom[0]);
    int64_t offset = 0;
    for (const Level& level : levels_) {
      T* part = level.top->overwrite_diff<T>();
      const int64_t n = level.row;
      for_each_heavy(bottom[0]->shape(0),
                     [=](int64_t s) { std::copy_n(dy + s * stride + offset, n, part + s * n); });
      offset += n;
      level.pooling->run_backward({level.top.get()}, {true}, {&gradient_});
      const T* add = gradient_.diff_as<T>();
      for_each(bottom[0]->count(), [=](int64_t i) { dx[i] += add[i]; });
    }
  }

 private:
  struct Level {
    std::unique_ptr<Layer> pooling;
    std::unique_ptr<Blob> top;
    int64_t row = 0;  // values per sample
  };

  Level make_level(const Shape& in, int64_t bins) const {
    LayerParameter pooling;
    pooling.set_name(concat(name(), "_", bins));
    pooling.set_type("Pooling");
    PoolingParameter& p = *pooling.mutable_pooling_param();
    const auto& spp = param().spp_param();
    p.set_pool(spp.pool() == SPPParameter::AVE          ? PoolingParameter::AVE
               : spp.pool() == SPPParameter::STOCHASTIC ? PoolingParameter::STOCHASTIC
                                                        : PoolingParameter::MAX);
    const auto fit = [&](int64_t extent, auto set_kernel, auto set_stride, auto set_pad) {
      const int64_t kernel = (extent + bins - 1) / bins;
      const int64_t pad = (kernel * bins - extent + 1) / 2;
      CAFFE_REQUIRE(pad < kernel, "cannot cut ", extent, " pixels into ", bins, " bins (bottom ",
                    in.str(), "); use a smaller pyramid_height");
      set_kernel(static_cast<uint32_t>(kernel));
      set_stride(static_cast<uint32_t>(kernel));
      set_pad(static_cast<uint32_t>(pad));
    };
    fit(
        in[2], [&](uint32_t v) { p.set_kernel_h(v); }, [&](uint32_t v) { p.set_stride_h(v); },
        [&](uint32_t v) { p.set_pad_h(v); });
    fit(
        in[3], [&](uint32_t v) { p.set_kernel_w(v); }, [&](uint32_t v) { p.set_stride_w(v); },
        [&](uint32_t v) { p.set_pad_w(v); });
    Level level;
    level.pooling = create_layer(pooling, context());
    level.top = std::make_unique<Blob>(context().dtype);
    return level;
  }

  std::vector<Level> levels_;
  Blob gradient_{context().dtype};
};

CAFFE_REGISTER_LAYER(SPP, SPPLayer);

}  // namespace
}  // namespace caffe

#include "layers/filler.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Tops from fillers: constant ones are filled once, random ones anew for every pass.
class DummyDataLayer : public PortableLayer<DummyDataLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::at_least(1); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs&, const Blobs& top) override {
    const auto& p = param().dummy_data_param();
    const int tops = static_cast<int>(top.size());
    const int fillers = p.data_filler_size();
    CAFFE_REQUIRE(fillers == 0 || fillers == 1 || fillers == tops, "found ", fillers,
                  " data_filler for ", tops,
                  " tops in dummy_data_param; give none, one for all, or one for each");
    for (int i = 0; i < tops; ++i) {
      top[static_cast<size_t>(i)]->reshape(shape_of(i, tops));
      fill_top(i, *top[static_cast<size_t>(i)], 0);
    }
  }
  void reshape(const Blobs&, const Blobs&) override {}

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    // Training counts passes itself, so that a restart goes on with the same numbers.
    const int64_t pass = training() ? context().pass : calls_;
    ++calls_;
    for (int i = 0; i < static_cast<int>(top.size()); ++i) {
      if (filler(i).type() == "constant") continue;
      fill_top(i, *top[static_cast<size_t>(i)],
               static_cast<uint64_t>(pass * context().world + context().rank));
    }
  }

 private:
  const FillerParameter& filler(int i) const {
    const auto& fillers = param().dummy_data_param().data_filler();
    if (fillers.empty()) return FillerParameter::default_instance();
    return fillers.Get(fillers.size() == 1 ? 0 : i);
  }

  void fill_top(int i, Blob& top, uint64_t batch) {
    const uint64_t key = random_key(context().seed, draw_name(), static_cast<uint64_t>(i));
    fill(filler(i), random_key(key, "batch", batch), top);
  }

  Shape shape_of(int i, int tops) const {
    const auto& p = param().dummy_data_param();
    if (p.num_size() == 0) {
      CAFFE_REQUIRE(p.shape_size() == 1 || p.shape_size() == tops, "found ", p.shape_size(),
                    " shapes for ", tops,
                    " tops in dummy_data_param; give one for all, or one for each");
      const auto& dims = p.shape(p.shape_size() == 1 ? 0 : i).dim();
      return Shape(std::vector<int64_t>(dims.begin(), dims.end()));
    }
    CAFFE_REQUIRE(p.shape_size() == 0,
                  "found both shape and num/channels/height/width in dummy_data_param; give one");
    Shape shape;
    for (const auto* extents : {&p.num(), &p.channels(), &p.height(), &p.width()}) {
      CAFFE_REQUIRE(extents->size() == 1 || extents->size() == tops, "found ", extents->size(),
                    " extents for ", tops,
                    " tops in dummy_data_param; give num, channels, height and width once, or once "
                    "for each top");
      shape.push_back(extents->Get(extents->size() == 1 ? 0 : i));
    }
    return shape;
  }

  int64_t calls_ = 0;
};

CAFFE_REGISTER_LAYER(DummyData, DummyDataLayer);

}  // namespace
}  // namespace caffe

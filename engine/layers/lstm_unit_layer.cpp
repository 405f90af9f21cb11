#include "layers/lstm_unit.h"

#include "layers/layer.h"

namespace caffe {
namespace {

// One time step of an LSTM by itself: bottoms c_before (1 x N x H), the gates' inputs (1 x N x 4H)
// and cont (1 x N); tops c and y (1 x N x H).
class LSTMUnitLayer : public PortableLayer<LSTMUnitLayer> {
 public:
  LSTMUnitLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), gates_(context.dtype) {}

  Arity bottoms() const override { return Arity::exactly(3); }
  Arity tops() const override { return Arity::exactly(2); }
  bool allow_force_backward(int index) const override { return index != 2; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& c = bottom[0]->shape();
    CAFFE_REQUIRE(c.axes() == 3 && c[0] == 1, "found bottom 0 ", c.str(),
                  ", expected 1 x streams x cells");
    streams_ = c[1];
    cells_ = c[2];
    CAFFE_REQUIRE((bottom[1]->shape() == Shape{1, streams_, 4 * cells_}), "found bottom 1 (gates) ",
                  bottom[1]->shape().str(), ", expected 1 ", streams_, " ", 4 * cells_);
    CAFFE_REQUIRE((bottom[2]->shape() == Shape{1, streams_}), "found bottom 2 (cont) ",
                  bottom[2]->shape().str(), ", expected 1 ", streams_);
    for (Blob* blob : top) blob->reshape(c);
    gates_.reshape(bottom[1]->shape());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    lstm_unit_forward(streams_, cells_, bottom[1]->data_as<T>(), bottom[2]->data_as<T>(),
                      bottom[0]->data_as<T>(), gates_.overwrite_data<T>(),
                      top[0]->overwrite_data<T>(), top[1]->overwrite_data<T>());
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down[2], label(), " has no gradient for cont (bottom 2)");
    if (!propagate_down[0] && !propagate_down[1]) return;
    T* dgates = propagate_down[1] ? bottom[1]->overwrite_diff<T>() : gates_.overwrite_diff<T>();
    T* dc = propagate_down[0] ? bottom[0]->overwrite_diff<T>() : spare<T>();
    lstm_unit_backward(streams_, cells_, gates_.data_as<T>(), bottom[0]->data_as<T>(),
                       top[0]->data_as<T>(), top[0]->diff_as<T>(), top[1]->diff_as<T>(), dgates,
                       dc);
  }

 private:
  // Takes a gradient that nobody wants.
  template <typename T>
  T* spare() {
    if (!spare_) spare_ = std::make_unique<Blob>(Shape{streams_, cells_}, context().dtype);
    spare_->reshape({streams_, cells_});
    return spare_->overwrite_diff<T>();
  }

  int64_t streams_ = 1;
  int64_t cells_ = 1;
  Blob gates_;  // activated
  std::unique_ptr<Blob> spare_;
};

CAFFE_REGISTER_LAYER(LSTMUnit, LSTMUnitLayer);

}  // namespace
}  // namespace caffe

#include <vector>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Sum (with coefficients), product or maximum of blobs of one shape. A sum may work in place.
class EltwiseLayer : public PortableLayer<EltwiseLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::at_least(2); }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = param().eltwise_param();
    CAFFE_REQUIRE(p.coeff_size() == 0 || static_cast<size_t>(p.coeff_size()) == bottom.size(),
                  "found ", p.coeff_size(), " coeff for ", bottom.size(),
                  " bottoms in eltwise_param; give none, or one for each");
    CAFFE_REQUIRE(p.coeff_size() == 0 || p.operation() != EltwiseParameter::PROD,
                  "found coeff with operation PROD in eltwise_param; only SUM takes coefficients");
    for (int i = 0; i < static_cast<int>(bottom.size()); ++i)
      coeff_.push_back(p.coeff_size() ? p.coeff(i) : 1.0f);
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = param().eltwise_param();
    for (size_t i = 0; i < bottom.size(); ++i) {
      CAFFE_REQUIRE(bottom[i]->shape() == bottom[0]->shape(), "bottom ", i, " has shape ",
                    bottom[i]->shape().str(), ", bottom 0 ", bottom[0]->shape().str(),
                    "; all bottoms must have the same shape");
      CAFFE_REQUIRE(bottom[i] != top[0] || p.operation() == EltwiseParameter::SUM,
                    "only operation SUM works in place; give the top a name of its own");
    }
    top[0]->reshape(bottom[0]->shape());
    if (p.operation() == EltwiseParameter::MAX)
      winner_.resize(static_cast<size_t>(top[0]->count()));
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    switch (param().eltwise_param().operation()) {
      case EltwiseParameter::SUM:
        return forward_sum<T>(bottom, top);
      case EltwiseParameter::PROD:
        return forward_product<T>(bottom, top);
      case EltwiseParameter::MAX:
        return forward_max<T>(bottom, top);
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* dy = top[0]->diff_as<T>();
    for (size_t i = bottom.size(); i-- > 0;) {
      if (propagate_down[i] && bottom[i] != top[0]) backward_to<T>(i, dy, top, bottom);
    }
    for (size_t i = 0; i < bottom.size(); ++i) {  // last, as it overwrites dy
      if (propagate_down[i] && bottom[i] == top[0]) return backward_to<T>(i, dy, top, bottom);
    }
  }

 private:
  template <typename T>
  void forward_sum(const Blobs& bottom, const Blobs& top) {
    const T a = coeff_[0];
    const T b = coeff_[1];
    const T* x0 = bottom[0]->data_as<T>();
    const T* x1 = bottom[1]->data_as<T>();
    for (size_t k = 2; k < bottom.size(); ++k) {
      CAFFE_REQUIRE(bottom[k] != top[0], "only the first two bottoms of a sum may be its top too");
    }
    T* y = top[0]->overwrite_data<T>();
    const int64_t count = top[0]->count();
    for_each(count, [=](int64_t i) { y[i] = a * x0[i] + b * x1[i]; });
    for (size_t k = 2; k < bottom.size(); ++k) {
      const T c = coeff_[k];
      const T* x = bottom[k]->data_as<T>();
      for_each(count, [=](int64_t i) { y[i] += c * x[i]; });
    }
  }

  template <typename T>
  void forward_product(const Blobs& bottom, const Blobs& top) {
    const T* x0 = bottom[0]->data_as<T>();
    const T* x1 = bottom[1]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    const int64_t count = top[0]->count();
    for_each(count, [=](int64_t i) { y[i] = x0[i] * x1[i]; });
    for (size_t k = 2; k < bottom.size(); ++k) {
      const T* x = bottom[k]->data_as<T>();
      for_each(count, [=](int64_t i) { y[i] *= x[i]; });
    }
  }

  // Of two equal values the second bottom's wins, of later ones the earlier bottom's, as in Caffe.
  template <typename T>
  void forward_max(const Blobs& bottom, const Blobs& top) {
    const T* x0 = bottom[0]->data_as<T>();
    const T* x1 = bottom[1]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    int32_t* winner = winner_.data();
    const int64_t count = top[0]->count();
    for_each(count, [=](int64_t i) {
      const bool first = x0[i] > x1[i];
      y[i] = first ? x0[i] : x1[i];
      winner[i] = first ? 0 : 1;
    });
    for (size_t k = 2; k < bottom.size(); ++k) {
      const T* x = bottom[k]->data_as<T>();
      const auto index = static_cast<int32_t>(k);
      for_each(count, [=](int64_t i) {
        const bool better = x[i] > y[i];
        y[i] = better ? x[i] : y[i];
        winner[i] = better ? index : winner[i];
      });
    }
  }

  template <typename T>
  void backward_to(size_t target, const T* dy, const Blobs& top, const Blobs& bottom) {
    const int64_t count = top[0]->count();
    const auto& p = param().eltwise_param();
    if (p.operation() == EltwiseParameter::SUM) {
      const T c = coeff_[target];
      T* dx = bottom[target]->overwrite_diff<T>();
      for_each(count, [=](int64_t i) { dx[i] = c * dy[i]; });
    } else if (p.operation() == EltwiseParameter::MAX) {
      const int32_t* winner = winner_.data();
      const auto index = static_cast<int32_t>(target);
      T* dx = bottom[target]->overwrite_diff<T>();
      for_each(count, [=](int64_t i) { dx[i] = winner[i] == index ? dy[i] : T{0}; });
    } else if (!p.stable_prod_grad()) {
      const T* x = bottom[target]->data_as<T>();
      const T* y = top[0]->data_as<T>();
      T* dx = bottom[target]->overwrite_diff<T>();
      for_each(count, [=](int64_t i) { dx[i] = y[i] / x[i] * dy[i]; });
    } else {
      T* dx = bottom[target]->overwrite_diff<T>();
      for_each(count, [=](int64_t i) { dx[i] = dy[i]; });
      for (size_t k = 0; k < bottom.size(); ++k) {
        if (k == target) continue;
        const T* x = bottom[k]->data_as<T>();
        for_each(count, [=](int64_t i) { dx[i] *= x[i]; });
      }
    }
  }

  std::vector<float> coeff_;
  std::vector<int32_t> winner_;  // MAX: the bottom that each element came from
};

CAFFE_REGISTER_LAYER(Eltwise, EltwiseLayer);

}  // namespace
}  // namespace caffe

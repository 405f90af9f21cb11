#include <algorithm>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// y = x W' + b. x is seen as rows of everything from `axis` on; W is num_output x row length, or
// transposed.
class InnerProductLayer : public PortableLayer<InnerProductLayer> {
 public:
  using PortableLayer::PortableLayer;

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = param().inner_product_param();
    CAFFE_REQUIRE(p.num_output() > 0,
                  "num_output must be given in inner_product_param and be positive");
    outputs_ = p.num_output();
    inputs_ = bottom[0]->shape().count(bottom[0]->shape().canonical_axis(p.axis()));
    CAFFE_REQUIRE(inputs_ > 0, "found an empty bottom ", bottom[0]->shape().str());
    add_parameter(p.transpose() ? Shape{inputs_, outputs_} : Shape{outputs_, inputs_},
                  p.weight_filler());
    if (p.bias_term()) add_parameter({outputs_}, p.bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().inner_product_param().axis());
    CAFFE_REQUIRE(in.count(axis) == inputs_, "found ", in.count(axis), " inputs (bottom ", in.str(),
                  " from axis ", axis, "), expected ", inputs_,
                  ", for which the weights were made");
    rows_ = in.count(0, axis);
    Shape out;
    for (int i = 0; i < axis; ++i) out.push_back(in[i]);
    out.push_back(outputs_);
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* x = bottom[0]->data_as<T>();
    std::vector<T> kept;
    if (top[0] == bottom[0]) {  // Caffe runs this, on what the top's shape left of the input
      kept.resize(static_cast<size_t>(rows_ * inputs_));
      std::copy_n(x, std::min(bottom[0]->count(), rows_ * inputs_), kept.data());
      x = kept.data();
    }
    const T* w = blobs()[0]->data_as<T>();
    T* y = top[0]->overwrite_data<T>();
    gemm(Transpose::kNo, transposed() ? Transpose::kNo : Transpose::kYes, rows_, outputs_, inputs_,
         T{1}, x, w, T{0}, y);
    if (!has_bias()) return;
    const T* b = blobs()[1]->data_as<T>();
    for_each_with_middle({rows_, outputs_, 1}, [=](int64_t i, int64_t c) { y[i] += b[c]; });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(top[0] != bottom[0], "cannot work in place; give its top a name of its own");
    const T* dy = top[0]->diff_as<T>();
    if (learns(0)) {
      const T* x = bottom[0]->data_as<T>();
      T* dw = blobs()[0]->update_diff<T>();
      if (transposed()) {
        gemm(Transpose::kYes, Transpose::kNo, inputs_, outputs_, rows_, T{1}, x, dy, T{1}, dw);
      } else {
        gemm(Transpose::kYes, Transpose::kNo, outputs_, inputs_, rows_, T{1}, dy, x, T{1}, dw);
      }
    }
    if (has_bias() && learns(1)) {
      T* db = blobs()[1]->update_diff<T>();
      sum_over_middle<T>(
          {rows_, outputs_, 1}, [=](int64_t i, int64_t) { return dy[i]; },
          [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
    }
    if (!propagate_down[0]) return;
    const T* w = blobs()[0]->data_as<T>();
    T* dx = bottom[0]->overwrite_diff<T>();
    gemm(Transpose::kNo, transposed() ? Transpose::kYes : Transpose::kNo, rows_, inputs_, outputs_,
         T{1}, dy, w, T{0}, dx);
  }

 private:
  bool transposed() const { return param().inner_product_param().transpose(); }
  bool has_bias() const { return param().inner_product_param().bias_term(); }

  int64_t rows_ = 0;
  int64_t inputs_ = 0;
  int64_t outputs_ = 0;
};

CAFFE_REGISTER_LAYER(InnerProduct, InnerProductLayer);

}  // namespace
}  // namespace caffe

#include "kernels/gemm.h"
#include "kernels/im2col.h"
#include "kernels/reduce.h"
#include "layers/convolution_window.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// N-D cross-correlation, with groups and dilation, as im2col and a product of matrices per sample.
// Several bottoms of one shape share the weights (num_output x channels / group x kernel) and the
// bias (num_output).
class ConvolutionLayer : public PortableLayer<ConvolutionLayer> {
 public:
  ConvolutionLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer(param, context), columns_(context.dtype) {}

  Arity bottoms() const override { return Arity::at_least(1); }
  Arity tops() const override { return Arity::at_least(1); }
  bool equal_bottoms_and_tops() const override { return true; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = param().convolution_param();
    const Shape& in = bottom[0]->shape();
    axis_ = in.canonical_axis(p.axis());
    outputs_ = p.num_output();
    channels_ = in[axis_];
    group_ = p.group();
    window_ = convolution_window(p, in);
    CAFFE_REQUIRE(outputs_ > 0, "num_output must be given in convolution_param and be positive");
    CAFFE_REQUIRE(group_ > 0 && channels_ % group_ == 0 && outputs_ % group_ == 0, "found group ",
                  group_, " with ", channels_, " channels and num_output ", outputs_,
                  "; group must divide both");
    Shape weights{outputs_, channels_ / group_};
    for (const int64_t extent : window_.kernel) weights.push_back(extent);
    add_parameter(weights, p.weight_filler());
    if (p.bias_term()) add_parameter({outputs_}, p.bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    CAFFE_REQUIRE(in.axes() > axis_ && in[axis_] == channels_, "found bottom ", in.str(),
                  ", expected ", channels_, " channels on axis ", axis_,
                  ", for which the weights were made");
    window_ = convolution_window(param().convolution_param(), in);
    samples_ = in.count(0, axis_);
    Shape out;
    for (int i = 0; i < axis_; ++i) out.push_back(in[i]);
    out.push_back(outputs_);
    for (const int64_t extent : window_.output) out.push_back(extent);
    for (size_t i = 0; i < bottom.size(); ++i) {
      CAFFE_REQUIRE(bottom[i]->shape() == in, "bottom ", i, " has shape ", bottom[i]->shape().str(),
                    ", bottom 0 ", in.str(),
                    "; all bottoms of a convolution must have the same shape");
      top[i]->reshape(out);
    }
    if (!window_.pointwise())
      columns_.reshape({channels_, window_.kernel_size(), window_.output_size()});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* weights = blobs()[0]->data_as<T>();
    for (size_t i = 0; i < bottom.size(); ++i) {
      const T* x = bottom[i]->data_as<T>();
      T* y = top[i]->overwrite_data<T>();
      for (int64_t sample = 0; sample < samples_; ++sample) {
        const T* columns = to_columns(x + sample * input_size());
        for (int64_t g = 0; g < group_; ++g) {
          gemm(Transpose::kNo, Transpose::kNo, rows(), window_.output_size(), depth(), T{1},
               weights + g * rows() * depth(), columns + g * depth() * window_.output_size(), T{0},
               y + (sample * group_ + g) * rows() * window_.output_size());
        }
      }
      if (param().convolution_param().bias_term()) {
        const T* b = blobs()[1]->data_as<T>();
        for_each_with_middle(output(), [=](int64_t at, int64_t c) { y[at] += b[c]; });
      }
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    for (size_t i = 0; i < bottom.size(); ++i) {
      const T* dy = top[i]->diff_as<T>();
      if (param().convolution_param().bias_term() && learns(1)) {
        T* db = blobs()[1]->update_diff<T>();
        sum_over_middle<T>(
            output(), [=](int64_t at, int64_t) { return dy[at]; },
            [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
      }
      if (learns(0)) add_weight_gradient(bottom[i]->data_as<T>(), dy);
      if (propagate_down[i]) input_gradient(dy, bottom[i]->overwrite_diff<T>());
    }
  }

 private:
  int64_t rows() const { return outputs_ / group_; }
  int64_t depth() const { return channels_ / group_ * window_.kernel_size(); }
  int64_t input_size() const { return channels_ * window_.image_size(); }
  Middle output() const { return {samples_, outputs_, window_.output_size()}; }

  template <typename T>
  const T* to_columns(const T* image) {
    if (window_.pointwise()) return image;
    im2col(window_, channels_, image, columns_.overwrite_data<T>());
    return columns_.data_as<T>();
  }

  template <typename T>
  void add_weight_gradient(const T* x, const T* dy) {
    T* dw = blobs()[0]->update_diff<T>();
    const int64_t positions = window_.output_size();
    for (int64_t sample = 0; sample < samples_; ++sample) {
      const T* columns = to_columns(x + sample * input_size());
      for (int64_t g = 0; g < group_; ++g) {
        gemm(Transpose::kNo, Transpose::kYes, rows(), depth(), positions, T{1},
             dy + (sample * group_ + g) * rows() * positions, columns + g * depth() * positions,
             T{1}, dw + g * rows() * depth());
      }
    }
  }

  template <typename T>
  void input_gradient(const T* dy, T* dx) {
    const T* weights = blobs()[0]->data_as<T>();
    const int64_t positions = window_.output_size();
    for (int64_t sample = 0; sample < samples_; ++sample) {
      T* image = dx + sample * input_size();
      T* columns = window_.pointwise() ? image : columns_.overwrite_data<T>();
      for (int64_t g = 0; g < group_; ++g) {
        gemm(Transpose::kYes, Transpose::kNo, depth(), positions, rows(), T{1},
             weights + g * rows() * depth(), dy + (sample * group_ + g) * rows() * positions, T{0},
             columns + g * depth() * positions);
      }
      if (!window_.pointwise()) col2im(window_, channels_, columns, image);
    }
  }

  int axis_ = 1;
  int64_t outputs_ = 0;
  int64_t channels_ = 0;
  int64_t group_ = 1;
  int64_t samples_ = 0;
  Window window_;
  Blob columns_;  // of one sample
};

CAFFE_REGISTER_LAYER(Convolution, ConvolutionLayer);

}  // namespace
}  // namespace caffe

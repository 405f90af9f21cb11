#include "kernels/reduce.h"
#include "layers/convolution_window.h"
#include "layers/correlation.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// What convolution and its adjoint have in common: N-D, with groups and dilation; several bottoms
// of one shape share weights and bias (num_output). kAdjoint says which of the two it is.
template <bool kAdjoint>
class ConvolutionLayers : public PortableLayer<ConvolutionLayers<kAdjoint>> {
  using Base = PortableLayer<ConvolutionLayers<kAdjoint>>;

 public:
  ConvolutionLayers(const LayerParameter& param, const RunContext& context)
      : Base(param, context), correlation_(context.dtype) {}

  Arity bottoms() const override { return Arity::at_least(1); }
  Arity tops() const override { return Arity::at_least(1); }
  bool equal_bottoms_and_tops() const override { return true; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = parameters();
    const Shape& in = bottom[0]->shape();
    axis_ = in.canonical_axis(p.axis());
    outputs_ = p.num_output();
    channels_ = in[axis_];
    const int64_t group = p.group();
    const Window window = window_for(in);
    CAFFE_REQUIRE(outputs_ > 0, "num_output must be given in convolution_param and be positive");
    CAFFE_REQUIRE(group > 0 && channels_ % group == 0 && outputs_ % group == 0, "found group ",
                  group, " with ", channels_, " channels and num_output ", outputs_,
                  "; group must divide both");
    Shape weights{map_channels(), image_channels() / group};
    for (const int64_t extent : window.kernel) weights.push_back(extent);
    this->add_parameter(weights, p.weight_filler());
    if (p.bias_term()) this->add_parameter({outputs_}, p.bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axes = axis_ + this->blobs()[0]->shape().axes() - 1;
    CAFFE_REQUIRE(in.axes() == axes && in[axis_] == channels_, "found bottom ", in.str(),
                  ", expected ", axes, " axes with ", channels_, " channels on axis ", axis_,
                  ", for which the weights were made");
    const Window window = window_for(in);
    Shape out;
    for (int i = 0; i < axis_; ++i) out.push_back(in[i]);
    out.push_back(outputs_);
    for (const int64_t extent : kAdjoint ? window.image : window.output) out.push_back(extent);
    for (size_t i = 0; i < bottom.size(); ++i) {
      CAFFE_REQUIRE(bottom[i]->shape() == in, "bottom ", i, " has shape ", bottom[i]->shape().str(),
                    ", bottom 0 ", in.str(),
                    "; all bottoms of a convolution must have the same shape");
      top[i]->reshape(out);
    }
    output_ = {in.count(0, axis_), outputs_, kAdjoint ? window.image_size() : window.output_size()};
    correlation_.plan(window, output_.outer, image_channels(), map_channels(),
                      parameters().group());
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* weights = this->blobs()[0]->template data_as<T>();
    for (size_t i = 0; i < bottom.size(); ++i) {
      const T* x = bottom[i]->template data_as<T>();
      T* y = top[i]->template overwrite_data<T>();
      if constexpr (kAdjoint) {
        correlation_.spread(weights, x, y);
      } else {
        correlation_.correlate(weights, x, y);
      }
      if (!parameters().bias_term()) continue;
      const T* b = this->blobs()[1]->template data_as<T>();
      for_each_with_middle(output_, [=](int64_t at, int64_t c) { y[at] += b[c]; });
    }
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    const T* weights = this->blobs()[0]->template data_as<T>();
    for (size_t i = 0; i < bottom.size(); ++i) {
      const T* dy = top[i]->template diff_as<T>();
      if (parameters().bias_term() && this->learns(1)) {
        T* db = this->blobs()[1]->template update_diff<T>();
        sum_over_middle<T>(
            output_, [=](int64_t at, int64_t) { return dy[at]; },
            [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
      }
      if (this->learns(0)) {
        const T* x = bottom[i]->template data_as<T>();
        T* gradient = this->blobs()[0]->template update_diff<T>();
        correlation_.add_weight_gradient(kAdjoint ? dy : x, kAdjoint ? x : dy, gradient);
      }
      if (!propagate_down[i]) continue;
      T* dx = bottom[i]->template overwrite_diff<T>();
      if constexpr (kAdjoint) {
        correlation_.correlate(weights, dy, dx);
      } else {
        correlation_.spread(weights, dy, dx);
      }
    }
  }

 private:
  const ConvolutionParameter& parameters() const { return this->param().convolution_param(); }
  Window window_for(const Shape& bottom) const {
    return kAdjoint ? deconvolution_window(parameters(), bottom)
                    : convolution_window(parameters(), bottom);
  }
  int64_t image_channels() const { return kAdjoint ? outputs_ : channels_; }
  int64_t map_channels() const { return kAdjoint ? channels_ : outputs_; }

  int axis_ = 1;
  int64_t outputs_ = 0;
  int64_t channels_ = 0;
  Middle output_;
  Correlation correlation_;
};

// Cross-correlation with weights num_output x channels / group x kernel.
using ConvolutionLayer = ConvolutionLayers<false>;
// Its adjoint ("transposed convolution"), with weights channels x num_output / group x kernel.
using DeconvolutionLayer = ConvolutionLayers<true>;

// One filter for each channel, whatever group says: weights channels x 1 x kernel. As in the layer
// of MobileNet's ports (BVLC/caffe pull request 5665), which has ConvolutionParameter, too.
class ConvolutionDepthwiseLayer : public ConvolutionLayer {
 public:
  using ConvolutionLayer::ConvolutionLayer;

  void set_up(const Blobs& bottom, const Blobs& top) override {
    ConvolutionParameter& p = *mutable_param().mutable_convolution_param();
    const Shape& in = bottom[0]->shape();
    const int64_t channels = in[in.canonical_axis(p.axis())];
    CAFFE_REQUIRE(!p.has_num_output() || p.num_output() == channels, "found num_output ",
                  p.num_output(), " in convolution_param for ", channels,
                  " channels; both must be equal, or use Convolution with group");
    p.set_num_output(static_cast<uint32_t>(channels));
    p.set_group(static_cast<uint32_t>(channels));
    ConvolutionLayer::set_up(bottom, top);
  }
};

CAFFE_REGISTER_LAYER(Convolution, ConvolutionLayer);
CAFFE_REGISTER_LAYER(Deconvolution, DeconvolutionLayer);
CAFFE_REGISTER_LAYER(ConvolutionDepthwise, ConvolutionDepthwiseLayer);
// yonghenglh6/DepthwiseConvolution: a Convolution whose group is the number of channels.
CAFFE_REGISTER_LAYER(DepthwiseConvolution, ConvolutionLayer);

}  // namespace
}  // namespace caffe

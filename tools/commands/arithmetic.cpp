#include "tools/commands/arithmetic.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "kernels/gemm.h"
#include "kernels/packed_product.h"

namespace caffe {
namespace {

// How often each weight of blob `index` is multiplied in a pass forward.
double uses_of_weight(const Layer& layer, size_t index, const Shape& bottom, const Shape& top) {
  const std::string& type = layer.type();
  if (type == "InnerProduct") {
    const int axis = bottom.canonical_axis(layer.param().inner_product_param().axis());
    return static_cast<double>(bottom.count(0, axis));
  }
  const int axis =
      bottom.axes() > 0 ? bottom.canonical_axis(layer.param().convolution_param().axis()) : 0;
  // A convolution uses each once per position of the top, its adjoint once per position of the
  // bottom.
  const auto positions = [axis](const Shape& shape) {
    return static_cast<double>(shape.count(0, axis) * shape.count(axis + 1));
  };
  if (type == "Convolution" || type == "ConvolutionDepthwise" || type == "DepthwiseConvolution")
    return positions(top);
  if (type == "Deconvolution") return positions(bottom);
  // Recurrent layers: weights of each step of each stream. A static input, which comes third, is
  // multiplied once per stream.
  const size_t matrices = layer.blobs().size();
  const bool fixed = matrices == 4 && layer.type() == "LSTM" && index == 2;
  return static_cast<double>(fixed ? bottom[1] : bottom.count(0, 2));
}

bool multiplies(const std::string& type) {
  static const std::vector<std::string> types = {"Convolution",
                                                 "ConvolutionDepthwise",
                                                 "DepthwiseConvolution",
                                                 "Deconvolution",
                                                 "InnerProduct",
                                                 "LSTM",
                                                 "RNN"};
  return std::find(types.begin(), types.end(), type) != types.end();
}

}  // namespace

Arithmetic arithmetic_of(const Net& net, int index) {
  const Layer& layer = *net.layers()[static_cast<size_t>(index)];
  Arithmetic sum;
  if (!multiplies(layer.type())) return sum;
  const std::vector<int>& bottoms = net.bottom_ids(index);
  const bool recurrent = layer.type() == "LSTM" || layer.type() == "RNN";
  // Several bottoms of a convolution go through the same weights.
  const size_t images = recurrent ? 1 : bottoms.size();
  for (size_t i = 0; i < images; ++i) {
    const Shape& bottom = net.blobs()[static_cast<size_t>(bottoms[i])]->shape();
    const Shape& top = net.blobs()[static_cast<size_t>(net.top_ids(index)[i])]->shape();
    for (size_t k = 0; k < layer.blobs().size(); ++k) {
      const Shape& weights = layer.blobs()[k]->shape();
      if (weights.axes() < 2) continue;  // a bias
      const double once =
          2 * static_cast<double>(weights.count()) * uses_of_weight(layer, k, bottom, top);
      sum.forward += once;
      if (!net.needs_backward(index)) continue;
      if (layer.learns(static_cast<int>(k))) sum.backward += once;
      if (net.propagates_down(index, static_cast<int>(i))) sum.backward += once;
    }
  }
  return sum;
}

double measure_peak(Precision precision, double seconds) {
  constexpr int64_t kSize = 768;
  const std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f);
  std::vector<float> c(kSize * kSize);
  std::optional<PackedProduct> rounded;
  if (precision == Precision::kBF16) {
    rounded.emplace(PackedProduct::Shape{precision, Transpose::kNo, Transpose::kNo, kSize, kSize,
                                         kSize, false});
    rounded->set_b(b.data());
  }
  double best = 0;
  const auto begin = Clock::now();
  while (best == 0 || seconds_since(begin) < seconds) {
    const auto start = Clock::now();
    if (rounded) {
      rounded->run(a.data(), c.data());
    } else {
      gemm(Transpose::kNo, Transpose::kNo, kSize, kSize, kSize, 1.f, a.data(), b.data(), 0.f,
           c.data());
    }
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds_since(start));
  }
  return best;
}

}  // namespace caffe

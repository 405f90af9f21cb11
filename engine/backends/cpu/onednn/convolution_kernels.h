#pragma once

#include <algorithm>
#include <functional>
#include <numeric>
#include <string_view>
#include <vector>

#include "backends/cpu/onednn/primitive.h"
#include "kernels/im2col.h"

// Where oneDNN's first choice among its kernels for a convolution is not the fastest. All of it was
// measured with ResNet-50's and GoogLeNet's shapes in batches of 16 (docs/performance.md).
namespace caffe::onednn {

inline std::string_view kernel(const dnnl::primitive_desc_base& description) {
  return description.impl_info_str();
}

// Goes on to oneDNN's next kernel whose name begins so; false if there is none.
template <typename Description>
bool advance_to(std::string_view name, Description* description) {
  while (!kernel(*description).starts_with(name)) {
    if (!description->next_impl()) return false;
  }
  return true;
}

// How many times as many numbers an array has with the padding of its format.
inline double padding(const Desc& desc) {
  const auto product = [](const Dims& dims) {
    return std::accumulate(dims.begin(), dims.end(), 1.0, std::multiplies<>());
  };
  return product(desc.get_padded_dims()) / product(desc.get_dims());
}

// Blocked formats fill channels up to whole blocks, and kernels compute with all of them: 20 to 50
// channels cost as much as 32 to 64.
inline bool pads_much(const Desc& source, const Desc& destination) {
  return padding(source) * padding(destination) >= 1.5;
}

inline Desc channels_last(const Dims& dims, NumberType type) {
  using Tag = dnnl::memory::format_tag;
  return Desc(dims, type, dims.size() == 3 ? Tag::nwc : dims.size() == 4 ? Tag::nhwc : Tag::ndhwc);
}

// Of a pass forward. Where only AVX2 is there, oneDNN prefers kernels made of small products of
// matrices ("brg..."). For windows of 3 over many channels they are the fastest; for single pixels,
// few channels and larger windows the direct kernels ("jit...") that come after them, in the same
// formats, are up to 1.5 times as fast.
inline bool is_slow_forward(std::string_view kernel, const Window& window, int64_t channels) {
  const auto small = [](int64_t extent) { return extent == 2 || extent == 3; };
  const bool best =
      channels >= 16 && std::any_of(window.kernel.begin(), window.kernel.end(), small);
  return !best && kernel.starts_with("brg") && kernel.find("avx2") != kernel.npos;
}

// Of the gradient of weights. For windows of one pixel, oneDNN prefers a kernel made for them. In
// bf16 the general one ("jit_bf16:") is 1.1 to 1.3 times as fast where images have many pixels.
inline bool is_slow_weights_gradient(std::string_view kernel, const Window& window,
                                     const Desc& top) {
  const auto is_one = [](int64_t extent) { return extent == 1; };
  const Dims dims = top.get_dims();
  const int64_t pixels =
      std::accumulate(dims.begin() + 2, dims.end(), int64_t{1}, std::multiplies<>());
  return kernel.starts_with("jit_bf16_1x1") && pixels >= 28 * 28 &&
         std::all_of(window.stride.begin(), window.stride.end(), is_one);
}

// Of the gradient of images. With a stride, oneDNN computes it by small products of matrices, in
// formats of its own. Direct kernels are as fast, for windows of one pixel 1.3 to 1.5 times as
// fast, and nothing is reordered for them.
inline bool is_slow_data_gradient(std::string_view kernel) {
  return kernel.starts_with("brgconv_strided");
}

// The first of `candidates` that can run a direct kernel, else `other`.
template <typename Description>
Description direct_or(const Description& other,
                      const std::vector<std::function<Description()>>& candidates) {
  for (const auto& candidate : candidates) {
    try {
      Description description = candidate();
      if (advance_to("jit", &description)) return description;
    } catch (const dnnl::error&) {
    }
  }
  return other;
}

}  // namespace caffe::onednn

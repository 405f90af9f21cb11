#include "layers/convolution_window.h"

#include <optional>
#include <string>

#include "core/error.h"

namespace caffe {
namespace {

using Extents = std::vector<int64_t>;

// One of kernel, stride, pad, dilation for all spatial axes. `height` and `width` are values of *_h
// and *_w, where given.
Extents per_axis(const char* field, const google::protobuf::RepeatedField<uint32_t>& values,
                 std::optional<uint32_t> height, std::optional<uint32_t> width, int axes,
                 std::optional<int64_t> otherwise) {
  const auto count = static_cast<size_t>(axes);
  const std::string name = field;
  if (height || width) {
    CAFFE_REQUIRE(axes == 2, name, "_h and _w are for 2 spatial axes, found ", axes,
                  "; use the repeated field");
    CAFFE_REQUIRE(values.empty(), "found both the repeated field and ", name,
                  "_h/_w in convolution_param; give one");
    CAFFE_REQUIRE((height && width) || otherwise, "found only one of ", name, "_h and ", name,
                  "_w in convolution_param; give both");
    return {height ? *height : *otherwise, width ? *width : *otherwise};
  }
  if (values.empty() && otherwise) return Extents(count, *otherwise);
  CAFFE_REQUIRE(values.size() == 1 || values.size() == axes, name,
                " must be given once, or once for each spatial axis, in convolution_param; found ",
                values.size(), " values for ", axes, " spatial axes");
  if (values.size() == 1) return Extents(count, values.Get(0));
  return Extents(values.begin(), values.end());
}

std::optional<uint32_t> given(bool has, uint32_t value) {
  return has ? std::optional(value) : std::nullopt;
}

// What the parameters say, checked; image and output are left open.
Window parameters_of(const ConvolutionParameter& p, const Extents& extents) {
  const int axes = static_cast<int>(extents.size());
  Window w;
  w.kernel = per_axis("kernel_size", p.kernel_size(), given(p.has_kernel_h(), p.kernel_h()),
                      given(p.has_kernel_w(), p.kernel_w()), axes, std::nullopt);
  w.stride = per_axis("stride", p.stride(), given(p.has_stride_h(), p.stride_h()),
                      given(p.has_stride_w(), p.stride_w()), axes, 1);
  w.pad = per_axis("pad", p.pad(), given(p.has_pad_h(), p.pad_h()), given(p.has_pad_w(), p.pad_w()),
                   axes, 0);
  w.dilation = per_axis("dilation", p.dilation(), std::nullopt, std::nullopt, axes, 1);
  for (size_t i = 0; i < extents.size(); ++i) {
    CAFFE_REQUIRE(w.kernel[i] > 0 && w.stride[i] > 0 && w.dilation[i] > 0,
                  "kernel_size, stride and dilation must be positive in convolution_param, found ",
                  w.kernel[i], ", ", w.stride[i], ", ", w.dilation[i], " for spatial axis ", i);
  }
  return w;
}

Extents spatial_extents(const ConvolutionParameter& p, const Shape& bottom) {
  return Extents(bottom.dims().begin() + bottom.canonical_axis(p.axis()) + 1, bottom.dims().end());
}

// Pixels under the dilated kernel.
int64_t span_of(const Window& w, size_t axis) {
  return w.dilation[axis] * (w.kernel[axis] - 1) + 1;
}

}  // namespace

Window convolution_window(const ConvolutionParameter& p, const Shape& bottom) {
  const Extents extents = spatial_extents(p, bottom);
  Window w = parameters_of(p, extents);
  w.image = extents;
  for (size_t i = 0; i < extents.size(); ++i) {
    const int64_t room = w.image[i] + 2 * w.pad[i] - span_of(w, i);
    CAFFE_REQUIRE(room >= 0, "the kernel spans ", span_of(w, i), " pixels, the padded bottom ",
                  w.image[i] + 2 * w.pad[i], " (bottom ", bottom.str(), ", spatial axis ", i,
                  "); use a smaller kernel, more padding or larger input");
    w.output.push_back(room / w.stride[i] + 1);
  }
  return w;
}

Window deconvolution_window(const ConvolutionParameter& p, const Shape& bottom) {
  const Extents extents = spatial_extents(p, bottom);
  Window w = parameters_of(p, extents);
  w.output = extents;
  for (size_t i = 0; i < extents.size(); ++i) {
    const int64_t image = w.stride[i] * (extents[i] - 1) + span_of(w, i) - 2 * w.pad[i];
    CAFFE_REQUIRE(image > 0, "the padding ", w.pad[i], " leaves nothing of the top (bottom ",
                  bottom.str(), ", spatial axis ", i, "); use less padding or a larger kernel");
    w.image.push_back(image);
  }
  return w;
}

}  // namespace caffe

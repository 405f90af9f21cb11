#include "layers/pooling_window.h"

#include "core/error.h"

namespace caffe {
namespace {

int64_t divide(int64_t a, int64_t b, PoolingParameter::RoundMode mode) {
  const int64_t floor = a >= 0 ? a / b : -((-a + b - 1) / b);
  return mode == PoolingParameter::CEIL && floor * b != a ? floor + 1 : floor;
}

void finish(const PoolingParameter& p, bool padded, const char* name, PoolingAxis& axis) {
  CAFFE_REQUIRE(axis.kernel > 0 && axis.stride > 0,
                "kernel and stride must be positive in pooling_param, found ", axis.kernel, " and ",
                axis.stride, " for the ", name);
  CAFFE_REQUIRE(axis.pad == 0 || axis.pad < axis.kernel,
                "pad must be smaller than the kernel in pooling_param, found ", axis.pad, " and ",
                axis.kernel, " for the ", name);
  axis.output = divide(axis.image + 2 * axis.pad - axis.kernel, axis.stride, p.round_mode()) + 1;
  if (padded && (axis.output - 1) * axis.stride >= axis.image + axis.pad) --axis.output;
  CAFFE_REQUIRE(axis.output > 0, "the kernel (", axis.kernel, ") is larger than the padded ", name,
                " of the bottom (", axis.image + 2 * axis.pad,
                "); use a smaller kernel, more padding or larger input");
}

}  // namespace

PoolingWindow pooling_window(const PoolingParameter& p, const Shape& bottom) {
  CAFFE_REQUIRE(bottom.axes() == 4, "pools over the last two of 4 axes, found bottom ",
                bottom.str());
  const bool sides = p.has_kernel_h() || p.has_kernel_w();
  PoolingWindow window;
  window.h.image = bottom[2];
  window.w.image = bottom[3];
  if (p.global_pooling()) {
    CAFFE_REQUIRE(!p.has_kernel_size() && !sides,
                  "found a kernel size together with global_pooling in pooling_param; give one");
    CAFFE_REQUIRE(p.pad() == 0 && p.pad_h() == 0 && p.pad_w() == 0 && p.stride() == 1 &&
                      (!p.has_stride_h() || p.stride_h() == 1) &&
                      (!p.has_stride_w() || p.stride_w() == 1),
                  "global_pooling in pooling_param goes with pad 0 and stride 1 only");
    window.h.kernel = bottom[2];
    window.w.kernel = bottom[3];
  } else {
    CAFFE_REQUIRE(p.has_kernel_size() != sides,
                  "the kernel must be given in pooling_param either as kernel_size or as kernel_h "
                  "and kernel_w");
    CAFFE_REQUIRE(!sides || (p.has_kernel_h() && p.has_kernel_w()),
                  "found only one of kernel_h and kernel_w in pooling_param; give both");
    window.h.kernel = sides ? p.kernel_h() : p.kernel_size();
    window.w.kernel = sides ? p.kernel_w() : p.kernel_size();
  }
  const bool pads = p.has_pad_h() || p.has_pad_w();
  CAFFE_REQUIRE(!pads || !p.has_pad(), "found both pad and pad_h/pad_w in pooling_param; give one");
  CAFFE_REQUIRE(p.has_pad_h() == p.has_pad_w(),
                "found only one of pad_h and pad_w in pooling_param; give both");
  window.h.pad = pads ? p.pad_h() : p.pad();
  window.w.pad = pads ? p.pad_w() : p.pad();
  const bool strides = p.has_stride_h() || p.has_stride_w();
  CAFFE_REQUIRE(!strides || !p.has_stride(),
                "found both stride and stride_h/stride_w in pooling_param; give one");
  CAFFE_REQUIRE(p.has_stride_h() == p.has_stride_w(),
                "found only one of stride_h and stride_w in pooling_param; give both");
  window.h.stride = strides ? p.stride_h() : p.stride();
  window.w.stride = strides ? p.stride_w() : p.stride();
  const bool padded = window.h.pad > 0 || window.w.pad > 0;
  finish(p, padded, "height", window.h);
  finish(p, padded, "width", window.w);
  return window;
}

}  // namespace caffe

#pragma once

#include "backends/cpu/onednn/dnnl_layout.h"
#include "proto/caffe.pb.h"

namespace caffe::onednn {

// How a sliding window moves over the spatial axes of an array, as oneDNN wants it told.
struct Window {
  Dims kernel, stride, dilation, pad_before, pad_after;  // dilation 0: dense
};

// The window of a convolution over `axes` spatial axes, from repeated fields or their _h and _w forms.
Window convolution_window(const ConvolutionParameter& param, size_t axes);

}  // namespace caffe::onednn

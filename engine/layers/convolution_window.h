#pragma once

#include "core/shape.h"
#include "kernels/im2col.h"
#include "proto/caffe.pb.h"

namespace caffe {

// The window that a ConvolutionParameter describes for a bottom of this shape: spatial axes are
// those after the channel axis. Kernel, stride, pad and dilation come from the repeated fields (one
// value for all axes, or one each) or from
// *_h and *_w. `output` is that of a convolution: floor((in + 2 pad - (dilation (kernel - 1) + 1))
// / stride) + 1. Throws where parameters and shape do not fit.
Window convolution_window(const ConvolutionParameter& param, const Shape& bottom);

// The same window for a deconvolution, the adjoint of a convolution: `output` is the bottom's
// spatial extent, `image` the top's, stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad.
Window deconvolution_window(const ConvolutionParameter& param, const Shape& bottom);

}  // namespace caffe

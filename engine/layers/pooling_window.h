#pragma once

#include "core/shape.h"
#include "proto/caffe.pb.h"

namespace caffe {

// The window of a pooling layer along one axis.
struct PoolingAxis {
  int64_t image = 0;
  int64_t kernel = 0;
  int64_t stride = 1;
  int64_t pad = 0;
  int64_t output = 0;
};

struct PoolingWindow {
  PoolingAxis h;
  PoolingAxis w;
};

// What a PoolingParameter describes for an N x C x H x W bottom. Outputs are ceil((in + 2 pad -
// kernel) / stride) + 1 (round_mode FLOOR: floor), less one where, with padding, the last window
// would start behind the image and its padding. Throws where parameters and shape do not fit.
PoolingWindow pooling_window(const PoolingParameter& param, const Shape& bottom);

}  // namespace caffe

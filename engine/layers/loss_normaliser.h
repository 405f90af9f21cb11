#pragma once

#include <algorithm>
#include <cstdint>

#include "proto/caffe.pb.h"

namespace caffe {

// What a loss is divided by, for `outer` x `inner` predictions of which `valid` count; at least 1.
// `otherwise` is the loss's own rule where loss_param names none. The older flag `normalize` counts
// only where `normalization` is not given.
inline double loss_normaliser(const LossParameter& p, LossParameter::NormalizationMode otherwise,
                              int64_t outer, int64_t inner, int64_t valid) {
  auto mode = otherwise;
  if (p.has_normalization()) {
    mode = p.normalization();
  } else if (p.has_normalize()) {
    mode = p.normalize() ? LossParameter::VALID : LossParameter::BATCH_SIZE;
  }
  int64_t n = 1;
  if (mode == LossParameter::FULL) n = outer * inner;
  if (mode == LossParameter::VALID) n = valid;
  if (mode == LossParameter::BATCH_SIZE) n = outer;
  return static_cast<double>(std::max<int64_t>(n, 1));
}

}  // namespace caffe

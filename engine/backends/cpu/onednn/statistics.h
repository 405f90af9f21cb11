#pragma once

#include <cstdint>
#include <vector>

#include "layers/layer.h"

// What a normalisation by channel is made of: the statistics of a BatchNorm layer, and the layers
// that follow it.
namespace caffe::onednn {

struct NormalisationChain {
  Layer* batch_norm = nullptr;
  Layer* scale = nullptr;  // one factor per channel
  bool relu = false;
  bool shift() const { return scale != nullptr && scale->blobs().size() > 1; }
};

// Sorts the fused layers by type.
NormalisationChain normalisation_chain(const std::vector<Layer*>& fused);

// Refuses a Scale that is not one factor for each channel (axis 1) of a bottom of this shape.
void require_channel_scale(const Layer& scale, const Shape& bottom);

// Whether a BatchNorm layer takes the running statistics instead of the batch's.
bool uses_global_statistics(const Layer& batch_norm);
// The running statistics, divided by their factor; arrays of one number per channel.
void read_global_statistics(const Layer& batch_norm, float* mean, float* variance);
// Adds a batch's statistics to the running ones, with the variance of `per_channel` values made
// unbiased, as Caffe does.
void add_to_running_statistics(const Layer& batch_norm, const float* mean, const float* variance,
                               int64_t per_channel);

}  // namespace caffe::onednn

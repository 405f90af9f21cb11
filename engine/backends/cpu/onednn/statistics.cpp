#include "backends/cpu/onednn/statistics.h"

#include "layers/operation.h"

namespace caffe::onednn {

NormalisationChain normalisation_chain(const std::vector<Layer*>& fused) {
  NormalisationChain chain;
  for (Layer* layer : fused) {
    if (layer->type() == "BatchNorm") chain.batch_norm = layer;
    if (layer->type() == "Scale") chain.scale = layer;
    if (layer->type() == "ReLU") chain.relu = true;
  }
  return chain;
}

void require_channel_scale(const Layer& scale, const Shape& bottom) {
  const Shape& factor = scale.blobs()[0]->shape();
  const bool by_channel = factor.axes() == 1 &&
                          bottom.canonical_axis(scale.param().scale_param().axis()) == 1 &&
                          factor[0] == bottom[1];
  if (!by_channel) throw Refusal{"only a Scale with one factor per channel"};
  // Caffe overwrites a factor's gradient there instead of adding to it.
  if (bottom.count() == factor.count()) throw Refusal{"a Scale of every element is another thing"};
}

bool uses_global_statistics(const Layer& batch_norm) {
  const BatchNormParameter& param = batch_norm.param().batch_norm_param();
  return param.has_use_global_stats() ? param.use_global_stats() : !batch_norm.training();
}

void read_global_statistics(const Layer& batch_norm, float* mean, float* variance) {
  const auto& blobs = batch_norm.blobs();
  const float factor = blobs[2]->data_as<float>()[0];
  const float scale = factor == 0 ? 0 : 1 / factor;
  const float* mean_sum = blobs[0]->data_as<float>();
  const float* variance_sum = blobs[1]->data_as<float>();
  for (int64_t c = 0; c < blobs[0]->count(); ++c) {
    mean[c] = mean_sum[c] * scale;
    variance[c] = variance_sum[c] * scale;
  }
}

void add_to_running_statistics(const Layer& batch_norm, const float* mean, const float* variance,
                               int64_t per_channel) {
  const auto& blobs = batch_norm.blobs();
  const float fraction = batch_norm.param().batch_norm_param().moving_average_fraction();
  const auto n = static_cast<double>(per_channel);
  const auto correction = static_cast<float>(per_channel > 1 ? n / (n - 1) : 1.0);
  float* mean_sum = blobs[0]->update_data<float>();
  float* variance_sum = blobs[1]->update_data<float>();
  for (int64_t c = 0; c < blobs[0]->count(); ++c) {
    mean_sum[c] = fraction * mean_sum[c] + mean[c];
    variance_sum[c] = fraction * variance_sum[c] + correction * variance[c];
  }
  float* factor = blobs[2]->update_data<float>();
  factor[0] = fraction * factor[0] + 1;
}

}  // namespace caffe::onednn

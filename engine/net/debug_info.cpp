#include "net/debug_info.h"

#include <algorithm>
#include <cmath>

#include "core/log.h"
#include "kernels/reduce.h"
#include "net/net.h"

namespace caffe {
namespace {

enum class Side { kData, kDiff };

// The sum over a blob's data or diff of |x|, or of x^2.
double sum_of(const Blob& blob, Side side, bool squares) {
  const auto over = [&](const auto* x) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(x)>>;
    return parallel_sum<T>(blob.count(),
                           [=](int64_t i) { return squares ? x[i] * x[i] : std::abs(x[i]); });
  };
  if (blob.dtype() == DType::kF32) {
    return over(side == Side::kData ? blob.data_as<float>() : blob.diff_as<float>());
  }
  return over(side == Side::kData ? blob.data_as<double>() : blob.diff_as<double>());
}

double mean_magnitude(const Blob& blob, Side side) {
  return sum_of(blob, side, false) / static_cast<double>(std::max<int64_t>(blob.count(), 1));
}

// What Caffe calls a parameter in forward passes: its name in the prototxt, or its number within
// the layer. In backward passes it is always the number.
std::string parameter_name(const Layer& layer, int index) {
  const bool named =
      index < layer.param().param_size() && !layer.param().param(index).name().empty();
  return named ? layer.param().param(index).name() : std::to_string(index);
}

}  // namespace

void log_forward(const Net& net, int index) {
  const Layer& layer = *net.layers()[static_cast<size_t>(index)];
  for (const int id : net.top_ids(index)) {
    const auto at = static_cast<size_t>(id);
    CAFFE_LOG_INFO("    [Forward] Layer ", layer.name(), ", top blob ", net.blob_names()[at],
                   " data: ", mean_magnitude(*net.blobs()[at], Side::kData));
  }
  for (size_t i = 0; i < layer.blobs().size(); ++i) {
    CAFFE_LOG_INFO("    [Forward] Layer ", layer.name(), ", param blob ",
                   parameter_name(layer, static_cast<int>(i)),
                   " data: ", mean_magnitude(*layer.blobs()[i], Side::kData));
  }
}

void log_backward(const Net& net, int index) {
  const Layer& layer = *net.layers()[static_cast<size_t>(index)];
  const std::vector<int>& bottoms = net.bottom_ids(index);
  for (size_t j = 0; j < bottoms.size(); ++j) {
    if (!net.propagates_down(index, static_cast<int>(j))) continue;
    const auto at = static_cast<size_t>(bottoms[j]);
    CAFFE_LOG_INFO("    [Backward] Layer ", layer.name(), ", bottom blob ", net.blob_names()[at],
                   " diff: ", mean_magnitude(*net.blobs()[at], Side::kDiff));
  }
  for (size_t i = 0; i < layer.blobs().size(); ++i) {
    if (!layer.learns(static_cast<int>(i))) continue;
    CAFFE_LOG_INFO("    [Backward] Layer ", layer.name(), ", param blob ", i,
                   " diff: ", mean_magnitude(*layer.blobs()[i], Side::kDiff));
  }
}

void log_norms(const Net& net) {
  double sums[4] = {};  // |data|, |diff|, data^2, diff^2
  for (const Net::Parameter& parameter : net.parameters()) {
    sums[0] += sum_of(*parameter.blob, Side::kData, false);
    sums[1] += sum_of(*parameter.blob, Side::kDiff, false);
    sums[2] += sum_of(*parameter.blob, Side::kData, true);
    sums[3] += sum_of(*parameter.blob, Side::kDiff, true);
  }
  CAFFE_LOG_INFO("    [Backward] All net params (data, diff): L1 norm = (", sums[0], ", ", sums[1],
                 "); L2 norm = (", std::sqrt(sums[2]), ", ", std::sqrt(sums[3]), ")");
}

}  // namespace caffe

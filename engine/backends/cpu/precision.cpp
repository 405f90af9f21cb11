#include "backends/cpu/precision.h"

#include "backends/cpu/onednn/primitive.h"

namespace caffe {
namespace {

// Asks for a convolution as nets have it.
bool has_fast_bf16() {
  using namespace onednn;
  try {
    const auto format = [](const Dims& dims) { return any_format(dims, NumberType::bf16); };
    const dnnl::convolution_forward::primitive_desc description(
        cpu_engine(), dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct,
        format({1, 16, 8, 8}), format({16, 16, 3, 3}), format({1, 16, 8, 8}), {1, 1}, {1, 1},
        {1, 1}, strict_attributes());
    return !is_reference(description);
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace

bool supports(Precision precision) {
  static const bool bf16 = has_fast_bf16();
  return precision == Precision::kF32 || bf16;
}

}  // namespace caffe

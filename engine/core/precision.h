#pragma once

#include <string>

#include "core/error.h"

namespace caffe {

// What a net of float32 computes in. With kBF16 activations, their gradients and the weights that
// are multiplied are rounded to bfloat16 wherever that is faster; parameters, their gradients and
// history, statistics and losses stay float32.
enum class Precision { kF32, kBF16 };

// "f32" or "bf16"; another text is an error that begins with `what`.
inline Precision parse_precision(const std::string& text, const std::string& what) {
  CAFFE_REQUIRE(text == "f32" || text == "bf16", what, " is f32 or bf16, not \"", text, "\"");
  return text == "bf16" ? Precision::kBF16 : Precision::kF32;
}
inline std::string name_of(Precision precision) {
  return precision == Precision::kF32 ? "f32" : "bf16";
}

}  // namespace caffe

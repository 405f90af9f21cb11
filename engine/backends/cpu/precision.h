#pragma once

#include "layers/run_context.h"

namespace caffe {

// Whether this processor computes in it at more than the speed of a plain loop.
bool supports(Precision precision);

// "f32" or "bf16"; another text is an error that begins with `what`.
Precision parse_precision(const std::string& text, const std::string& what);
std::string name_of(Precision precision);

}  // namespace caffe

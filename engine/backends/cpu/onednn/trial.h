#pragma once

#include <cstdint>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

namespace caffe::onednn {

// Choice between kernels by running them, while a net is planned; only with CAFFE_TRIAL in the
// environment (neither empty nor "0"). All that compete do the same operation in the same memory
// formats. So it does not matter whether ranks, or machines, choose alike: what travels between
// them is laid out as before, and gradients are sums of floats whatever kernel made them. Only
// last bits may differ from one machine to the next.
bool trials_wanted();

// Another handle of `first`, or of what oneDNN has for the same operation and was faster. `again`
// describes the operation anew, with the formats of `first` given.
dnnl::primitive_desc_base fastest_of(const dnnl::primitive_desc_base& first,
                                     const std::function<dnnl::primitive_desc_base()>& again);

template <typename Description, typename Again>
Description fastest(const Description& first, const Again& again) {
  if (!trials_wanted()) return first;
  Description chosen = first;
  dnnl::handle<dnnl_primitive_desc_t>& handle = chosen;
  handle = fastest_of(first, [&]() -> dnnl::primitive_desc_base { return again(); });
  return chosen;
}

// " by trial" where a trial, now or earlier, decided about this operation; else empty.
std::string trial_note(const dnnl::primitive_desc_base& description);

// ", gradient of weights jit:avx512_core by trial"; empty like trial_note.
std::string gradient_note(const char* of, const dnnl::primitive_desc_base& description);

// The index of the least of these times, unless it is less than 5 % below the first, which then
// stays: such a difference may be chance.
size_t winner(const std::vector<double>& times);

// How many times kernels were run against each other in this process.
int64_t trials_made();

}  // namespace caffe::onednn

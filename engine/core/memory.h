#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/shape.h"

namespace caffe {

// The next multiple of `unit`.
template <typename Int>
constexpr Int round_up(Int count, Int unit) {
  return (count + unit - 1) / unit * unit;
}

// Bytes that this process may still take without being killed for it: what the system has free and
// what the limit of its control group leaves. INT64_MAX where neither is known.
int64_t available_memory();

// Throws unless `bytes` are available. `what` starts the message: "the model x.h5". For sizes that
// a file claims, before they are allocated: the system grants memory that it does not have and
// kills whoever touches it.
void require_memory(int64_t bytes, const std::string& what);

// Throws if the number of elements of a shape is beyond what can be counted. For shapes out of
// files, whose extents may be anything.
void require_countable(const Shape& shape, const std::string& what);

}  // namespace caffe

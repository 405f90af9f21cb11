#pragma once

#include <cstddef>

namespace caffe {

// The elements [begin, begin + count) of an array.
struct Part {
  size_t begin = 0;
  size_t count = 0;
};

}  // namespace caffe

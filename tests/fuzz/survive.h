#pragma once

#include "core/error.h"

namespace caffe::fuzz {

// Whatever the bytes are, an Error is a good answer.
template <typename Work>
void survive(const Work& work) {
  try {
    work();
  } catch (const Error&) {
  }
}

}  // namespace caffe::fuzz

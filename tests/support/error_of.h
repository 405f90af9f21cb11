#pragma once

#include <string>

#include "core/error.h"

namespace caffe::testing {

// The message of the Error that `work` throws; empty if it throws none.
template <typename Work>
std::string error_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

}  // namespace caffe::testing

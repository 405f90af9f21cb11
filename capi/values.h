#pragma once

#include <string>
#include <utility>
#include <vector>

#include "capi/caffe_c.h"
#include "solvers/solver.h"

struct caffe_strings {
  std::vector<std::string> items;
};

struct caffe_outputs {
  std::vector<caffe::NamedValues> items;
};

namespace caffe::capi {

inline caffe_strings* make_strings(std::vector<std::string> items) {
  return new caffe_strings{std::move(items)};
}

// "a,b" -> {"a", "b"}; parts that are empty are left out.
std::vector<std::string> split_list(const std::string& text);

}  // namespace caffe::capi

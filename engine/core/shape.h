#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/error.h"

namespace caffe {

// Extents of an N-D array, outermost first. No axes: a scalar, of count 1.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<int64_t> dims) : dims_(std::move(dims)) {}

  int axes() const { return static_cast<int>(dims_.size()); }
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  const std::vector<int64_t>& dims() const { return dims_; }

  // Product of the extents of axes [begin, end); end < 0: through the last.
  int64_t count(int begin = 0, int end = -1) const {
    if (end < 0) end = axes();
    int64_t n = 1;
    for (int i = begin; i < end; ++i) {
      CAFFE_REQUIRE(!__builtin_mul_overflow(n, (*this)[i], &n), "the shape ", str(),
                    " has more elements than can be counted");
    }
    return n;
  }

  // Axis index in [0, axes()) for an index that may count from the end (-1: the last).
  int canonical_axis(int axis) const {
    CAFFE_REQUIRE(axis >= -axes() && axis < axes(), "axis ", axis, " is out of range for the ",
                  axes(), "-D shape ", str());
    return axis < 0 ? axis + axes() : axis;
  }

  // Extent with missing trailing axes counted as 1: Caffe's num, channels, height, width.
  int64_t extent_or_one(int axis) const { return axis < axes() ? (*this)[axis] : 1; }

  // Extent with missing leading axes counted as 1, as files of the 4-D era store them.
  int64_t legacy(int index) const {
    const int axis = index - (4 - axes());
    return axes() > 4 ? (*this)[index] : axis < 0 ? 1 : (*this)[axis];
  }

  std::string str() const {  // "2 3 4 4 (96)"
    std::string text;
    int64_t n = 1;
    bool countable = true;
    for (const int64_t d : dims_) {
      text += std::to_string(d) + " ";
      countable = countable && !__builtin_mul_overflow(n, d, &n);
    }
    return text + "(" + (countable ? std::to_string(n) : "too many") + ")";
  }

  void push_back(int64_t extent) { dims_.push_back(extent); }
  bool operator==(const Shape& other) const { return dims_ == other.dims_; }
  bool operator!=(const Shape& other) const { return dims_ != other.dims_; }

 private:
  std::vector<int64_t> dims_;
};

}  // namespace caffe

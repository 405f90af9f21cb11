#pragma once

#include "core/blob.h"
#include "kernels/gemm.h"
#include "kernels/im2col.h"

namespace caffe {

// The cross-correlation of an image with grouped weights (map channels x image channels / group x
// kernel), which gives a map, and its two adjoints: im2col and a product of matrices per sample.
// A convolution correlates forward, a deconvolution backward.
class Correlation {
 public:
  explicit Correlation(DType type) : columns_(type) {}

  // For `samples` images with window.image pixels and maps with window.output pixels.
  void plan(const Window& window, int64_t samples, int64_t image_channels, int64_t map_channels,
            int64_t group) {
    window_ = window;
    samples_ = samples;
    image_channels_ = image_channels;
    group_ = group;
    rows_ = map_channels / group;
    depth_ = image_channels / group * window.kernel_size();
    if (!window.pointwise())
      columns_.reshape({image_channels, window.kernel_size(), window.output_size()});
  }

  // map = weights * image.
  template <typename T>
  void correlate(const T* weights, const T* image, T* map) {
    for (int64_t sample = 0; sample < samples_; ++sample) {
      const T* columns = to_columns(image + sample * image_size());
      for (int64_t g = 0; g < group_; ++g) {
        gemm(Transpose::kNo, Transpose::kNo, rows_, positions(), depth_, T{1},
             weights + g * rows_ * depth_, columns + g * depth_ * positions(), T{0},
             map + map_offset(sample, g));
      }
    }
  }

  // image = the adjoint: every value of the map spread by the weights.
  template <typename T>
  void spread(const T* weights, const T* map, T* image) {
    for (int64_t sample = 0; sample < samples_; ++sample) {
      T* const target = image + sample * image_size();
      T* const columns = window_.pointwise() ? target : columns_.overwrite_data<T>();
      for (int64_t g = 0; g < group_; ++g) {
        gemm(Transpose::kYes, Transpose::kNo, depth_, positions(), rows_, T{1},
             weights + g * rows_ * depth_, map + map_offset(sample, g), T{0},
             columns + g * depth_ * positions());
      }
      if (!window_.pointwise()) col2im(window_, image_channels_, columns, target);
    }
  }

  // gradient += the weights' gradient, of an image and a map one of which is a gradient.
  template <typename T>
  void add_weight_gradient(const T* image, const T* map, T* gradient) {
    for (int64_t sample = 0; sample < samples_; ++sample) {
      const T* columns = to_columns(image + sample * image_size());
      for (int64_t g = 0; g < group_; ++g) {
        gemm(Transpose::kNo, Transpose::kYes, rows_, depth_, positions(), T{1},
             map + map_offset(sample, g), columns + g * depth_ * positions(), T{1},
             gradient + g * rows_ * depth_);
      }
    }
  }

 private:
  int64_t image_size() const { return image_channels_ * window_.image_size(); }
  int64_t positions() const { return window_.output_size(); }
  int64_t map_offset(int64_t sample, int64_t group) const {
    return (sample * group_ + group) * rows_ * positions();
  }

  template <typename T>
  const T* to_columns(const T* image) {
    if (window_.pointwise()) return image;
    im2col(window_, image_channels_, image, columns_.overwrite_data<T>());
    return columns_.data_as<T>();
  }

  Window window_;
  int64_t samples_ = 0;
  int64_t image_channels_ = 0;
  int64_t group_ = 1;
  int64_t rows_ = 0;   // map channels per group
  int64_t depth_ = 0;  // image channels per group x kernel size
  Blob columns_;       // of one sample
};

}  // namespace caffe

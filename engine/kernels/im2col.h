#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace caffe {

// A window that slides over an N-D image; one entry per spatial axis.
struct Window {
  std::vector<int64_t> image;
  std::vector<int64_t> kernel;
  std::vector<int64_t> stride;
  std::vector<int64_t> pad;
  std::vector<int64_t> dilation;
  std::vector<int64_t> output;  // positions of the window

  int axes() const { return static_cast<int>(image.size()); }
  int64_t image_size() const { return product(image); }
  int64_t kernel_size() const { return product(kernel); }
  int64_t output_size() const { return product(output); }
  // Whether an output position sees just the one pixel at the same place.
  bool pointwise() const {
    for (int i = 0; i < axes(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (kernel[at] != 1 || stride[at] != 1 || pad[at] != 0) return false;
    }
    return true;
  }

 private:
  static int64_t product(const std::vector<int64_t>& extents) {
    int64_t n = 1;
    for (const int64_t extent : extents) n *= extent;
    return n;
  }
};

// columns[(channel, kernel offset), output position] = the pixel under it, or 0 in the padding.
template <typename T>
void im2col(const Window& window, int64_t channels, const T* image, T* columns);

// The adjoint: every pixel becomes the sum of the column entries that im2col copies it to.
template <typename T>
void col2im(const Window& window, int64_t channels, const T* columns, T* image);

}  // namespace caffe

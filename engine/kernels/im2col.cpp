#include "kernels/im2col.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

constexpr int kMostAxes = 8;

// Calls visit(first output position, first pixel, step between pixels, positions) for every maximal
// run of output positions along the last axis for which kernel offset `offset` lies inside the
// image, and blank(first output position, positions) for the runs that lie in the padding.
template <typename Visit, typename Blank>
void walk(const Window& w, int64_t offset, const Visit& visit, const Blank& blank) {
  const int axes = w.axes();
  if (axes == 0) return visit(0, 0, 1, 1);
  std::array<int64_t, kMostAxes> shift{};  // where the offset lies for output position 0
  for (int axis = axes - 1; axis >= 0; --axis) {
    const auto at = static_cast<size_t>(axis);
    shift[at] = offset % w.kernel[at] * w.dilation[at] - w.pad[at];
    offset /= w.kernel[at];
  }
  const auto last = static_cast<size_t>(axes - 1);
  const int64_t row = w.output[last];
  const int64_t stride = w.stride[last];
  // Positions i with 0 <= shift + i * stride < image.
  const int64_t begin =
      std::clamp<int64_t>(shift[last] >= 0 ? 0 : (-shift[last] + stride - 1) / stride, 0, row);
  const int64_t room = w.image[last] - shift[last];
  const int64_t end = std::clamp<int64_t>(room <= 0 ? 0 : (room + stride - 1) / stride, begin, row);

  std::array<int64_t, kMostAxes> position{};
  const int64_t rows = w.output_size() / std::max<int64_t>(row, 1);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t pixel = 0;
    bool inside = true;
    for (size_t axis = 0; axis < last; ++axis) {
      const int64_t at = shift[axis] + position[axis] * w.stride[axis];
      inside = inside && at >= 0 && at < w.image[axis];
      pixel = pixel * w.image[axis] + at;
    }
    const int64_t first = r * row;
    if (!inside) {
      blank(first, row);
    } else {
      blank(first, begin);
      visit(first + begin, pixel * w.image[last] + shift[last] + begin * stride, stride,
            end - begin);
      blank(first + end, row - end);
    }
    for (size_t axis = last; axis-- > 0;) {
      if (++position[axis] < w.output[axis]) break;
      position[axis] = 0;
    }
  }
}

void check(const Window& window) {
  CAFFE_REQUIRE(window.axes() <= kMostAxes, "found ", window.axes(), " spatial axes; at most ",
                kMostAxes, " are supported");
}

}  // namespace

template <typename T>
void im2col(const Window& window, int64_t channels, const T* image, T* columns) {
  check(window);
  const int64_t offsets = window.kernel_size();
  const int64_t positions = window.output_size();
  const int64_t pixels = window.image_size();
  for_each_heavy(channels * offsets, [&, image, columns](int64_t row) {
    const T* source = image + row / offsets * pixels;
    T* column = columns + row * positions;
    walk(
        window, row % offsets,
        [=](int64_t first, int64_t pixel, int64_t step, int64_t n) {
          if (step == 1) {
            std::copy_n(source + pixel, n, column + first);
          } else {
            for (int64_t i = 0; i < n; ++i) column[first + i] = source[pixel + i * step];
          }
        },
        [=](int64_t first, int64_t n) { std::fill_n(column + first, n, T{0}); });
  });
}

template <typename T>
void col2im(const Window& window, int64_t channels, const T* columns, T* image) {
  check(window);
  const int64_t offsets = window.kernel_size();
  const int64_t positions = window.output_size();
  const int64_t pixels = window.image_size();
  for_each_heavy(channels, [&, image, columns](int64_t channel) {
    T* target = image + channel * pixels;
    std::fill_n(target, pixels, T{0});
    for (int64_t offset = 0; offset < offsets; ++offset) {
      const T* column = columns + (channel * offsets + offset) * positions;
      walk(
          window, offset,
          [=](int64_t first, int64_t pixel, int64_t step, int64_t n) {
            for (int64_t i = 0; i < n; ++i) target[pixel + i * step] += column[first + i];
          },
          [](int64_t, int64_t) {});
    }
  });
}

template void im2col<float>(const Window&, int64_t, const float*, float*);
template void im2col<double>(const Window&, int64_t, const double*, double*);
template void col2im<float>(const Window&, int64_t, const float*, float*);
template void col2im<double>(const Window&, int64_t, const double*, double*);

}  // namespace caffe

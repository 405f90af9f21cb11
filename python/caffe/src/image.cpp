#include "data/image.h"

#include <string_view>

#include "bindings.h"

namespace caffe::python {
namespace {

// (pixels, height, width, channels) of an encoded image: bytes, interleaved, colours in the order
// B, G, R.
py::tuple decode(const py::bytes& encoded, bool color) {
  const std::string_view view = encoded;
  Image image;
  {
    py::gil_scoped_release release;
    decode_image(view, color ? ColorMode::kColor : ColorMode::kGray, image);
  }
  const py::bytes pixels(reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size());
  return py::make_tuple(pixels, image.height, image.width, image.channels);
}

}  // namespace

void bind_image(py::module_& module) { module.def("decode_image", &decode); }

}  // namespace caffe::python

#include <pybind11/stl.h>

#include <vector>

#include "bindings.h"

namespace caffe::python {
namespace {

// The memory of a numpy view. As long as one lives, its buffer stays pinned: the net reads what is
// written there, and shows there what it computes.
struct View {
  std::shared_ptr<Buffer::Pin> pin;
  std::vector<py::ssize_t> shape;
};

py::buffer_info describe(View& view) {
  std::vector<py::ssize_t> strides(view.shape.size());
  py::ssize_t stride = sizeof(float);
  for (size_t i = strides.size(); i-- > 0; stride *= view.shape[i]) strides[i] = stride;
  return py::buffer_info(view.pin->storage->data(), sizeof(float),
                         py::format_descriptor<float>::format(),
                         static_cast<py::ssize_t>(view.shape.size()), view.shape, strides);
}

py::object view_of(const BlobHandle& handle, bool diff) {
  CAFFE_REQUIRE(handle.unreadable.empty(), handle.unreadable);
  View view;
  for (const int64_t extent : handle.blob->shape().dims()) view.shape.push_back(extent);
  view.pin = unlocked(handle.owner->lock,
                      [&] { return diff ? handle.blob->diff().pin() : handle.blob->data().pin(); });
  return py::module_::import("numpy").attr("asarray")(py::cast(std::move(view)));
}

py::tuple shape_of(const BlobHandle& handle) {
  return py::tuple(py::cast(handle.blob->shape().dims()));
}

int64_t legacy(const BlobHandle& handle, int axis) {
  CAFFE_REQUIRE(handle.blob->shape().axes() <= 4, "a blob of shape ", handle.blob->shape().str(),
                " has no num, channels, height and width; use shape");
  return handle.blob->shape().legacy(axis);
}

void reshape(BlobHandle& handle, const py::args& extents) {
  std::vector<int64_t> dims;
  for (const auto& extent : extents) {
    dims.push_back(extent.cast<int64_t>());
    CAFFE_REQUIRE(dims.back() >= 0, "a blob cannot have the extent ", dims.back());
  }
  unlocked(handle.owner->lock, [&] { handle.blob->reshape(Shape(dims)); });
  handle.owner->reshaped = true;
}

}  // namespace

void bind_blob(py::module_& module) {
  py::class_<View>(module, "View", py::buffer_protocol(),
                   "Memory of a blob, as long as it is looked at.")
      .def_buffer(&describe);
  py::class_<BlobHandle>(module, "Blob",
                         "An N-D array of float32 values (data) and one of their gradients (diff).")
      .def_property_readonly(
          "data", [](const BlobHandle& handle) { return view_of(handle, false); },
          "The values: a numpy view without a copy, float32, of the blob's shape. Stays valid as "
          "long as it is held.")
      .def_property_readonly(
          "diff", [](const BlobHandle& handle) { return view_of(handle, true); },
          "The gradients: a numpy view as `data` is.")
      .def_property_readonly("shape", &shape_of, "The extents, outermost first.")
      .def_property_readonly(
          "count", [](const BlobHandle& handle) { return handle.blob->count(); },
          "Number of elements.")
      .def_property_readonly("num", [](const BlobHandle& handle) { return legacy(handle, 0); })
      .def_property_readonly("channels", [](const BlobHandle& handle) { return legacy(handle, 1); })
      .def_property_readonly("height", [](const BlobHandle& handle) { return legacy(handle, 2); })
      .def_property_readonly("width", [](const BlobHandle& handle) { return legacy(handle, 3); })
      .def("reshape", &reshape,
           "reshape(*extents): a new shape. Values are kept where the number of elements stays the "
           "same. The net follows "
           "at its next forward() or reshape(). Views taken before keep the old values.")
      .def("__repr__", [](const BlobHandle& handle) {
        return "<caffe.Blob " + handle.blob->shape().str() + ">";
      });
}

}  // namespace caffe::python

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

// The net of a blob, for as long as the result is held. Null while the net is being built.
NetPtr net_of(const BlobHandle& handle) {
  if (handle.owner) return handle.owner;
  NetPtr net = handle.site->net.lock();
  CAFFE_REQUIRE(net || handle.site->building,
                "the net of this layer is gone, and its blobs with it; keep the net");
  return net;
}

// Without the lock, so that nobody who asks for a shape waits for a net at work.
Shape shape_of(const BlobHandle& handle) {
  const NetPtr net = net_of(handle);
  return handle.blob->shape();
}

// Runs `work` under the lock of the blob's net.
template <typename Work>
auto guarded(const BlobHandle& handle, Work&& work) {
  const NetPtr net = net_of(handle);
  return unlocked(net ? net->lock : handle.site->lock, [&] { return work(net.get()); });
}

py::object view_of(const BlobHandle& handle, bool diff) {
  CAFFE_REQUIRE(handle.unreadable.empty(), handle.unreadable);
  View view;
  view.pin = guarded(handle, [&](NetHandle*) {
    for (const int64_t extent : handle.blob->shape().dims()) view.shape.push_back(extent);
    return diff ? handle.blob->diff().pin() : handle.blob->data().pin();
  });
  return py::module_::import("numpy").attr("asarray")(py::cast(std::move(view)));
}

int64_t legacy(const BlobHandle& handle, int axis) {
  const Shape shape = shape_of(handle);
  CAFFE_REQUIRE(shape.axes() <= 4, "a blob of shape ", shape.str(),
                " has no num, channels, height and width; use shape");
  return shape.extent_or_one(axis);
}

void reshape(const BlobHandle& handle, const py::args& extents) {
  std::vector<int64_t> dims;
  for (const auto& extent : extents) {
    dims.push_back(extent.cast<int64_t>());
    CAFFE_REQUIRE(dims.back() >= 0, "a blob cannot have the extent ", dims.back());
  }
  guarded(handle, [&](NetHandle* net) {
    handle.blob->reshape(Shape(dims));
    // What a layer does to its tops, the pass that it is part of follows by itself.
    const bool by_layer = handle.site && handle.site->running > 0;
    if (net && !by_layer) net->reshaped = true;
  });
}

}  // namespace

void bind_blob(py::module_& module) {
  py::class_<View>(module, "View", py::buffer_protocol(),
                   "Memory of a blob, as long as it is looked at.")
      .def_buffer(&describe);
  py::class_<BlobHandle> blob(
      module, "Blob", "An N-D array of float32 values (data) and one of their gradients (diff).");
  refuse_pickling(blob,
                  "a caffe.Blob cannot be pickled; pickle a copy of its data: blob.data.copy()");
  blob.def_property_readonly(
          "data", [](const BlobHandle& handle) { return view_of(handle, false); },
          "The values: a numpy view without a copy, float32, of the blob's shape. Stays valid as "
          "long as it is held.")
      .def_property_readonly(
          "diff", [](const BlobHandle& handle) { return view_of(handle, true); },
          "The gradients: a numpy view as `data` is.")
      .def_property_readonly(
          "shape",
          [](const BlobHandle& handle) { return py::tuple(py::cast(shape_of(handle).dims())); },
          "The extents, outermost first.")
      .def_property_readonly(
          "count", [](const BlobHandle& handle) { return shape_of(handle).count(); },
          "Number of elements.")
      .def_property_readonly(
          "num", [](const BlobHandle& handle) { return legacy(handle, 0); },
          "Extent 0 of a blob of at most 4 axes; axes that it does not have count as 1.")
      .def_property_readonly(
          "channels", [](const BlobHandle& handle) { return legacy(handle, 1); },
          "Extent 1, as num.")
      .def_property_readonly(
          "height", [](const BlobHandle& handle) { return legacy(handle, 2); }, "Extent 2, as num.")
      .def_property_readonly(
          "width", [](const BlobHandle& handle) { return legacy(handle, 3); }, "Extent 3, as num.")
      .def("reshape", &reshape,
           "reshape(*extents): a new shape. Values are kept where the number of elements stays the "
           "same. The net follows "
           "at its next forward() or reshape(). Views taken before keep the old values.")
      .def("__repr__",
           [](const BlobHandle& handle) { return "<caffe.Blob " + shape_of(handle).str() + ">"; });
}

}  // namespace caffe::python

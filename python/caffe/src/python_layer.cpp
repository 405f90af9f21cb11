#include "python_layer.h"

#include <pybind11/stl.h>

namespace caffe::python {
namespace {

// `self.blobs` of a Python layer: its parameters, which setup() creates.
struct BlobVec {
  SitePtr site;
  std::vector<std::shared_ptr<Blob>>* blobs;  // the layer's; not to be looked at once it is gone

  std::vector<std::shared_ptr<Blob>>& get() const {
    CAFFE_REQUIRE(site->building || !site->net.expired(),
                  "the net of this layer is gone, and its blobs with it; keep the net");
    return *blobs;
  }
  py::list handles() const {
    py::list list;
    for (const auto& blob : get()) list.append(BlobHandle{nullptr, blob, "", site});
    return list;
  }
};

void add_blob(const BlobVec& parameters, const py::args& extents) {
  std::vector<std::shared_ptr<Blob>>& blobs = parameters.get();
  CAFFE_REQUIRE(parameters.site->building,
                "add_blob() is for setup(): the net has taken over the layer's parameters already");
  std::vector<int64_t> dims;
  for (const auto& extent : extents) {
    dims.push_back(extent.cast<int64_t>());
    CAFFE_REQUIRE(dims.back() >= 0, "a blob cannot have the extent ", dims.back());
  }
  blobs.push_back(std::make_shared<Blob>(Shape(dims)));
}

py::object layer_module() { return py::module_::import("caffe.layer"); }

// What a method may look at, brought up to date in views that somebody holds.
void show(const Blobs& blobs) {
  for (const Blob* blob : blobs) blob->data().end_pass(), blob->diff().end_pass();
}

// What the method wrote into such views becomes what the net reads.
void take(const Blobs& blobs) {
  for (const Blob* blob : blobs) blob->data().begin_pass(), blob->diff().begin_pass();
}

CAFFE_REGISTER_LAYER(Python, PythonLayer);

}  // namespace

PythonLayer::PythonLayer(const LayerParameter& param, const RunContext& context)
    : Layer(param, context) {
  CAFFE_REQUIRE(context.dtype == DType::kF32, label(), " computes in float32 only");
  py::gil_scoped_acquire acquire;
  object_ = layer_module().attr("create")(label(), py::bytes(param.SerializeAsString()));
  object_.attr("blobs") = BlobVec{site_, &blobs()};
}

PythonLayer::~PythonLayer() {
  site_->building = false;
  site_->net.reset();
  py::gil_scoped_acquire acquire;
  object_ = py::object();
}

void PythonLayer::set_up(const Blobs& bottom, const Blobs& top) {
  run(bottom, top, [&] { call("setup", py::make_tuple(handles(bottom), handles(top))); });
}

void PythonLayer::reshape(const Blobs& bottom, const Blobs& top) {
  run(bottom, top, [&] { call("reshape", py::make_tuple(handles(bottom), handles(top))); });
}

void PythonLayer::run_forward(const Blobs& bottom, const Blobs& top) {
  run(bottom, top, [&] {
    const py::tuple arguments = py::make_tuple(handles(bottom), handles(top));
    call("reshape", arguments);
    call("forward", arguments);
  });
}

void PythonLayer::run_backward(const Blobs& top, const std::vector<bool>& propagate_down,
                               const Blobs& bottom) {
  run(bottom, top,
      [&] { call("backward", py::make_tuple(handles(top), propagate_down, handles(bottom))); });
}

py::list PythonLayer::handles(const Blobs& blobs) const {
  py::list list;
  for (Blob* blob : blobs) {
    const std::shared_ptr<Blob> no_more_than_a_pointer(std::shared_ptr<Blob>(), blob);
    list.append(BlobHandle{nullptr, no_more_than_a_pointer, "", site_});
  }
  return list;
}

template <typename Work>
void PythonLayer::run(const Blobs& bottom, const Blobs& top, Work&& work) {
  Blobs parameters;
  for (const auto& blob : blobs()) parameters.push_back(blob.get());
  for (const Blobs& touched : {bottom, top, parameters}) show(touched);
  ++site_->running;
  const std::shared_ptr<void> done(nullptr, [this](void*) { --site_->running; });
  {
    py::gil_scoped_acquire acquire;
    work();
  }
  for (const Blobs& touched : {bottom, top, parameters}) take(touched);
}

void PythonLayer::call(const char* method, const py::args& arguments) const {
  layer_module().attr("call")(label(), object_, method, *arguments);
}

void settle_python_layers(const NetPtr& handle) {
  for (const auto& layer : handle->net->layers()) {
    const auto* python_layer = dynamic_cast<const PythonLayer*>(layer.get());
    if (!python_layer) continue;
    python_layer->site()->net = handle;
    python_layer->site()->building = false;
  }
}

void bind_python_layer(py::module_& module) {
  py::class_<BlobVec> parameters(module, "BlobVec",
                                 "The parameters of a layer written in Python: a list of Blob.");
  refuse_pickling(parameters, "a layer's blobs cannot be pickled; pickle copies of their data");
  parameters.def("__len__", [](const BlobVec& vector) { return vector.get().size(); })
      .def("__getitem__",
           [](const BlobVec& vector, const py::object& index) {
             return vector.handles().attr("__getitem__")(index);
           })
      .def("__iter__", [](const BlobVec& vector) { return py::iter(vector.handles()); })
      .def("add_blob", &add_blob,
           "add_blob(*extents): one more parameter, of zeros. In setup() only: then the net "
           "learns, saves and shares it as those of any layer.");
}

}  // namespace caffe::python

#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bindings.h"
#include "core/precision.h"
#include "io/prototxt.h"
#include "io/snapshot.h"
#include "layers/memory_data_layer.h"
#include "python_layer.h"

namespace caffe::python {
namespace {

// One layer of a net, which it keeps alive.
struct LayerHandle {
  NetPtr owner;
  int index = 0;

  Layer& layer() const { return *owner->net->layers()[static_cast<size_t>(index)]; }
};

NetPtr make_net(const std::string& file, int phase, int level, std::vector<std::string> stages,
                std::optional<std::vector<std::string>> observed, const std::string& weights,
                uint64_t seed, size_t memory_limit, const std::string& precision) {
  CAFFE_REQUIRE(phase == TRAIN || phase == TEST, "phase is ", phase,
                "; use caffe.TRAIN or caffe.TEST");
  NetOptions options;
  options.phase = static_cast<Phase>(phase);
  options.level = level;  // as Caffe does, whatever the file says
  options.stages = std::move(stages);
  options.observed = std::move(observed);
  options.seed = seed;
  options.memory_limit = memory_limit;
  options.precision = parse_precision(precision, "precision");
  const Lock lock = std::make_shared<std::recursive_mutex>();
  return unlocked(lock, [&] {
    auto net = std::make_shared<Net>(read_net(file), options);
    if (!weights.empty()) net->load_weights(weights);
    auto handle = std::make_shared<NetHandle>(std::move(net), lock);
    settle_python_layers(handle);
    return handle;
  });
}

// Caffe shapes every layer anew in each forward pass; here it is done when a blob was reshaped by
// hand.
void follow_reshaped_blobs(NetHandle& handle) {
  if (handle.reshaped.exchange(false)) handle.net->reshape();
}

double forward(NetHandle& handle, int start, int end) {
  return unlocked(handle.lock, [&] {
    follow_reshaped_blobs(handle);
    return handle.net->forward(start, end);
  });
}

void backward(NetHandle& handle, int start, int end) {
  unlocked(handle.lock, [&] { handle.net->backward(start, end); });
}

std::vector<BlobHandle> blobs(const NetPtr& handle) {
  const Net& net = *handle->net;
  std::vector<BlobHandle> result;
  for (size_t i = 0; i < net.blobs().size(); ++i) {
    BlobHandle blob{handle, net.blobs()[i]};
    if (!net.observed(static_cast<int>(i))) {
      blob.unreadable =
          concat("blob '", net.blob_names()[i], "' of net '", net.name(),
                 "' is not observed, so its values are not kept; name it in observed=[...]");
    }
    result.push_back(std::move(blob));
  }
  return result;
}

// Layers written in Python are their own objects, so that programs reach what they keep there.
py::list layers(const NetPtr& handle) {
  py::list result;
  for (int i = 0; i < handle->net->layer_count(); ++i) {
    const LayerHandle layer{handle, i};
    const auto* python_layer = dynamic_cast<const PythonLayer*>(&layer.layer());
    result.append(python_layer ? python_layer->object() : py::cast(layer));
  }
  return result;
}

std::vector<BlobHandle> layer_blobs(const LayerHandle& handle) {
  std::vector<BlobHandle> result;
  for (const auto& blob : handle.layer().blobs()) result.push_back({handle.owner, blob});
  return result;
}

std::vector<BlobHandle> parameters(const NetPtr& handle, int layer) {
  return layer_blobs(LayerHandle{handle, layer});
}

std::vector<std::string> layer_names(const NetHandle& handle) {
  std::vector<std::string> names;
  for (const auto& layer : handle.net->layers()) names.push_back(layer->name());
  return names;
}

std::vector<float> loss_weights(const NetHandle& handle) {
  std::vector<float> weights;
  for (size_t i = 0; i < handle.net->blobs().size(); ++i)
    weights.push_back(handle.net->loss_weight(static_cast<int>(i)));
  return weights;
}

// Takes both locks, in whatever order other threads do. They are recursive, so the two may be one.
void share_with(NetHandle& handle, const NetPtr& other) {
  py::gil_scoped_release release;
  std::unique_lock<std::recursive_mutex> own(*handle.lock, std::defer_lock);
  std::unique_lock<std::recursive_mutex> others(*other->lock, std::defer_lock);
  std::lock(own, others);
  handle.net->share_trained_with(*other->net);
  if (other.get() != &handle) handle.uses.push_back(other->net);
}

// The arrays live as long as the net: it only points to them.
void set_input_arrays(NetHandle& handle, const py::buffer& data, const py::buffer& labels) {
  const auto values = std::make_shared<py::buffer_info>(data.request());
  const auto marks = std::make_shared<py::buffer_info>(labels.request());
  MemoryDataLayer* layer = nullptr;
  for (const auto& candidate : handle.net->layers()) {
    layer = layer ? layer : dynamic_cast<MemoryDataLayer*>(candidate.get());
  }
  CAFFE_REQUIRE(layer, "net '", handle.net->name(), "' has no MemoryData layer");
  const Shape& batch = layer->batch_shape();
  for (int axis = 1; axis < 4; ++axis) {
    CAFFE_REQUIRE(values->shape[static_cast<size_t>(axis)] == batch[axis],
                  "the arrays' rows have the extent ", values->shape[static_cast<size_t>(axis)],
                  " on axis ", axis, "; MemoryData layer '", layer->name(), "' takes batches of ",
                  batch.str());
  }
  unlocked(handle.lock, [&] {
    layer->set_arrays(static_cast<const float*>(values->ptr), static_cast<const float*>(marks->ptr),
                      values->shape[0]);
  });
  handle.arrays = {values, marks};
}

}  // namespace

void bind_net(py::module_& module) {
  py::class_<LayerHandle> layer(module, "Layer", "A layer of a net.");
  refuse_pickling(layer, "a layer of a net cannot be pickled; save() the net's weights");
  layer
      .def_property_readonly(
          "type", [](const LayerHandle& handle) { return handle.layer().type(); },
          "Its type in the net file.")
      .def_property_readonly(
          "name", [](const LayerHandle& handle) { return handle.layer().name(); },
          "Its name in the net file.")
      .def_property_readonly("blobs", &layer_blobs, "Its parameters: a list of Blob.")
      .def("__repr__", [](const LayerHandle& handle) {
        return "<caffe.Layer " + handle.layer().label() + ">";
      });

  py::class_<NetHandle, NetPtr>(module, "NetCore", "What caffe.Net is made of.")
      .def(py::init(&make_net))
      .def_property_readonly("name", [](const NetHandle& handle) { return handle.net->name(); })
      .def("forward", &forward)
      .def("backward", &backward)
      .def("reshape",
           [](NetHandle& handle) {
             unlocked(handle.lock, [&] {
               handle.reshaped = false;
               handle.net->reshape();
             });
           })
      .def("clear_param_diffs",
           [](NetHandle& handle) {
             unlocked(handle.lock, [&] { handle.net->clear_parameter_diffs(); });
           })
      .def("add_callback",
           [](NetHandle& handle, int moment, py::function function) {
             auto called = callback<int>(std::move(function));
             unlocked(handle.lock, [&] {
               handle.net->add_callback(static_cast<Net::Moment>(moment), std::move(called));
             });
           })
      .def("blobs", &blobs)
      .def("layers", &layers)
      .def("parameters", &parameters)
      .def("blob_names", [](const NetHandle& handle) { return handle.net->blob_names(); })
      .def("layer_names", &layer_names)
      .def("inputs", [](const NetHandle& handle) { return handle.net->input_blobs(); })
      .def("outputs", [](const NetHandle& handle) { return handle.net->output_blobs(); })
      .def("top_ids", [](const NetHandle& handle, int layer) { return handle.net->top_ids(layer); })
      .def("bottom_ids",
           [](const NetHandle& handle, int layer) { return handle.net->bottom_ids(layer); })
      .def("loss_weights", &loss_weights)
      .def("load_weights",
           [](NetHandle& handle, const std::string& files) {
             unlocked(handle.lock, [&] { handle.net->load_weights(files); });
           })
      .def("share_with", &share_with)
      .def("set_input_arrays", &set_input_arrays)
      .def("save",
           [](NetHandle& handle, const std::string& path) {
             unlocked(handle.lock, [&] { write_model(path, handle.net->to_proto()); });
           })
      .def("save_hdf5",
           [](NetHandle& handle, const std::string& path) {
             unlocked(handle.lock, [&] { write_hdf5_model(path, handle.net->to_proto()); });
           })
      .def("plan", [](NetHandle& handle) {
        return unlocked(handle.lock, [&] { return handle.net->plan_text(); });
      });
}

}  // namespace caffe::python

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "backends/cpu/precision.h"
#include "bindings.h"
#include "core/log.h"
#include "io/prototxt.h"
#include "layers/layer.h"
#include "solvers/update_rule.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe::python {
namespace {

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kData:
      return "data";
    case ErrorCode::kCommunication:
      return "communication";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

PyObject* error_type = nullptr;  // lives as long as the process

void translate(std::exception_ptr pending) {
  try {
    if (pending) std::rethrow_exception(pending);
  } catch (const Error& error) {
    py::object exception =
        py::reinterpret_steal<py::object>(PyObject_CallFunction(error_type, "s", error.what()));
    if (!exception) return;  // the failure of making it is what Python sees
    exception.attr("code") = name_of(error.code());
    PyErr_SetObject(error_type, exception.ptr());
  }
}

template <typename Registered>
std::vector<std::string> registered_names() {
  std::vector<std::string> names;
  for (const auto& entry : Registered::all()) names.push_back(entry.first);
  return names;
}

}  // namespace

PYBIND11_MODULE(_caffe, module) {
  module.doc() = "The engine behind the caffe package.";
  module.attr("__version__") = CAFFE_VERSION;
  error_type = PyErr_NewExceptionWithDoc("caffe.CaffeError",
                                         "What the engine refuses or cannot do. `code` is one of "
                                         "invalid_argument, io, data, communication, cancelled and "
                                         "internal.",
                                         PyExc_RuntimeError, nullptr);
  module.attr("CaffeError") = py::handle(error_type);
  py::register_exception_translator(&translate);
  bind_blob(module);
  bind_net(module);
  bind_solver(module);
  bind_image(module);
  bind_python_layer(module);
  module.attr("TRAIN") = static_cast<int>(TRAIN);
  module.attr("TEST") = static_cast<int>(TEST);
  module.def("layer_type_list", &registered_names<LayerRegistry>,
             "The types that a layer of a net file may have.");
  module.def("solver_type_list", &registered_names<SolverRegistry>,
             "The types that a solver file may have.");
  module.def(
      "supports_bf16", [] { return supports(Precision::kBF16); },
      "Whether nets can compute in bf16 on this processor.");
  module.def("read_net", [](const std::string& file) {
    const NetParameter net = [&] {
      py::gil_scoped_release release;
      return read_net(file);
    }();
    return py::bytes(net.SerializeAsString());
  });
  module.def(
      "run_command_line",
      [](const std::vector<std::string>& arguments) {
        py::gil_scoped_release release;
        return run_command("caffe", [&] { run_command_line(arguments); });
      },
      "What the command `caffe` does with these words; returns its exit code.");
  module.def("set_log_threshold",
             [](int level) { set_log_threshold(static_cast<Severity>(level)); });
  module.def("log", [](const std::string& text) { log_line(Severity::kInfo, "python", 0, text); });
}

}  // namespace caffe::python

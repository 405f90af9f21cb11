#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bindings.h"
#include "core/precision.h"
#include "io/prototxt.h"
#include "solvers/solver.h"

namespace caffe::python {
namespace {

struct SolverHandle {
  Lock lock = std::make_shared<std::recursive_mutex>();
  std::shared_ptr<Solver> solver;
  NetPtr net;
  std::vector<NetPtr> test_nets;
};

// Python's Ctrl-C, which only its main thread hears of, ends a running step or solve.
SolverRequest check_signals() {
  py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  return SolverRequest::kNone;
}

std::unique_ptr<SolverHandle> make_solver(const std::string& file, const std::string& type,
                                          std::optional<std::vector<std::string>> observed,
                                          std::optional<uint64_t> seed, size_t memory_limit,
                                          const std::optional<std::string>& precision) {
  auto handle = std::make_unique<SolverHandle>();
  unlocked(handle->lock, [&] {
    SolverParameter param = read_solver(file);
    if (!type.empty()) param.set_type(type);
    SolverOptions options;
    options.observed = std::move(observed);
    options.memory_limit = memory_limit;
    if (precision) options.precision = parse_precision(*precision, "precision");
    if (param.random_seed() < 0) options.seed = seed;
    handle->solver = std::make_shared<Solver>(param, options);
    handle->solver->set_requests(&check_signals);
    const auto with_solver = [&](const std::shared_ptr<Net>& net) {
      auto result = std::make_shared<NetHandle>(net, handle->lock);
      result->uses.push_back(handle->solver);
      settle_python_layers(result);
      return result;
    };
    handle->net = with_solver(handle->solver->net_ptr());
    for (const auto& net : handle->solver->test_nets())
      handle->test_nets.push_back(with_solver(net));
  });
  return handle;
}

// Runs `work` of the solver once its nets have followed the blobs that were reshaped by hand.
template <typename Work>
auto with_nets_ready(SolverHandle& handle, Work&& work) {
  return unlocked(handle.lock, [&] {
    if (handle.net->reshaped.exchange(false)) handle.net->net->reshape();
    for (const NetPtr& net : handle.test_nets) {
      if (net->reshaped.exchange(false)) net->net->reshape();
    }
    return work();
  });
}

}  // namespace

void bind_solver(py::module_& module) {
  py::class_<SolverHandle>(module, "SolverCore", "What caffe.SGDSolver and its kin are made of.")
      .def(py::init(&make_solver))
      .def_property_readonly(
          "type", [](const SolverHandle& handle) { return handle.solver->param().type(); })
      .def_property_readonly("iter",
                             [](const SolverHandle& handle) { return handle.solver->iter(); })
      .def_property_readonly("param",
                             [](const SolverHandle& handle) {
                               return py::bytes(handle.solver->param().SerializeAsString());
                             })
      .def_readonly("net", &SolverHandle::net)
      .def_readonly("test_nets", &SolverHandle::test_nets)
      .def("step",
           [](SolverHandle& handle, int64_t iterations) {
             with_nets_ready(handle, [&] { handle.solver->step(iterations); });
           })
      .def("solve",
           [](SolverHandle& handle) { with_nets_ready(handle, [&] { handle.solver->solve(); }); })
      .def(
          "test_all",
          [](SolverHandle& handle) { with_nets_ready(handle, [&] { handle.solver->test_all(); }); })
      .def("add_callback",
           [](SolverHandle& handle, py::function on_start, py::function on_gradients_ready) {
             handle.solver->add_callback(callback<>(std::move(on_start)),
                                         callback<>(std::move(on_gradients_ready)));
           })
      .def("apply_update",
           [](SolverHandle& handle) {
             unlocked(handle.lock, [&] { handle.solver->apply_update(); });
           })
      .def("snapshot",
           [](SolverHandle& handle) {
             return unlocked(handle.lock, [&] { return handle.solver->snapshot(); });
           })
      .def("restore", [](SolverHandle& handle, const std::string& path) {
        unlocked(handle.lock, [&] { handle.solver->restore(path); });
      });
}

}  // namespace caffe::python

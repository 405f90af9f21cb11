#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "net/net.h"

namespace caffe::python {

namespace py = pybind11;

// A net is used by one thread at a time, but Python programs have several: a plot that reads blobs
// while another thread trains. So everything that Python reaches of one net or solver shares a
// lock, which is only ever waited for without the interpreter's lock. Recursive, because callbacks
// of a solver read its nets.
using Lock = std::shared_ptr<std::recursive_mutex>;

// Runs `work` without the interpreter's lock, holding `lock`.
template <typename Work>
auto unlocked(const Lock& lock, Work&& work) {
  py::gil_scoped_release release;
  std::lock_guard<std::recursive_mutex> guard(*lock);
  return work();
}

// A net as Python holds it: alone, or one of a solver's.
struct NetHandle {
  NetHandle(std::shared_ptr<Net> shared_net, Lock shared_lock)
      : net(std::move(shared_net)), lock(std::move(shared_lock)) {}

  std::shared_ptr<Net> net;
  Lock lock;
  std::atomic<bool> reshaped{false};          // a blob was reshaped by hand since the last pass
  std::vector<std::shared_ptr<void>> arrays;  // of Python, that a MemoryData layer reads
  std::vector<std::shared_ptr<void>>
      uses;  // whose memory the net uses: its solver, nets that it shares weights with
};
using NetPtr = std::shared_ptr<NetHandle>;

// The net around a layer written in Python, for what that layer holds: its blobs must not keep the
// net alive, which keeps the layer.
struct LayerSite {
  std::weak_ptr<NetHandle> net;
  bool building = true;  // the net is not complete: there is no handle yet
  Lock lock = std::make_shared<std::recursive_mutex>();  // until there is
  int running = 0;                                       // calls of the layer's methods
};
using SitePtr = std::shared_ptr<LayerSite>;

// A blob, and the net that it belongs to.
struct BlobHandle {
  NetPtr owner;                 // kept alive; null where a Python layer holds the blob
  std::shared_ptr<Blob> blob;   // without an owner no more than a pointer into the net
  std::string unreadable = "";  // why its values may not be read; empty: they may
  SitePtr site = nullptr;       // where there is no owner
};

// Tells the Python layers of a net that it is complete.
void settle_python_layers(const NetPtr& handle);

// A Python function that may be copied and called without the interpreter's lock.
template <typename... Arguments>
std::function<void(Arguments...)> callback(py::function function) {
  const auto held =
      std::shared_ptr<py::function>(new py::function(std::move(function)), [](py::function* last) {
        py::gil_scoped_acquire acquire;
        delete last;
      });
  return [held](Arguments... arguments) {
    py::gil_scoped_acquire acquire;
    (*held)(arguments...);
  };
}

void bind_blob(py::module_& module);
void bind_net(py::module_& module);
void bind_solver(py::module_& module);
void bind_image(py::module_& module);
void bind_python_layer(py::module_& module);

// Pickling an object of the class raises a TypeError that says what to do instead.
template <typename Class>
void refuse_pickling(Class& bound, const char* why) {
  bound.def("__reduce__", [why](const py::object&) -> py::object { throw py::type_error(why); });
}

}  // namespace caffe::python

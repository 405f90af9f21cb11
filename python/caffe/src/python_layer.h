#pragma once

#include <string>
#include <vector>

#include "bindings.h"
#include "layers/layer.h"

namespace caffe::python {

// A layer of type "Python": python_param names the module and the class (derived from caffe.Layer)
// that does its work. The parts that need no C++ are in caffe/layer.py.
class PythonLayer : public Layer {
 public:
  PythonLayer(const LayerParameter& param, const RunContext& context);
  ~PythonLayer() override;

  Arity bottoms() const override { return Arity::at_least(0); }
  Arity tops() const override { return Arity::at_least(0); }
  bool shapes_tops_by_value() const override { return true; }
  void set_up(const Blobs& bottom, const Blobs& top) override;
  void reshape(const Blobs& bottom, const Blobs& top) override;
  // Calls reshape() too, as Caffe does in every pass: there are layers that load their data in it.
  void run_forward(const Blobs& bottom, const Blobs& top) override;
  void run_backward(const Blobs& top, const std::vector<bool>& propagate_down,
                    const Blobs& bottom) override;

  const py::object& object() const { return object_; }
  const SitePtr& site() const { return site_; }

 private:
  py::list handles(const Blobs& blobs) const;
  template <typename Work>
  void run(const Blobs& bottom, const Blobs& top, Work&& work);
  void call(const char* method, const py::args& arguments) const;

  SitePtr site_ = std::make_shared<LayerSite>();
  py::object object_;
};

}  // namespace caffe::python

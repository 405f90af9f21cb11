#include "layers/layer.h"

#include "core/memory.h"
#include "layers/filler.h"

namespace caffe {

Blob& Layer::add_parameter(const Shape& shape, const FillerParameter& filler) {
  require_countable(shape, "a parameter");
  auto blob = std::make_shared<Blob>(shape, context_.dtype);
  fill(filler, random_key(context_.seed, draw_name(), blobs_.size()), *blob);
  blobs_.push_back(std::move(blob));
  return *blobs_.back();
}

std::unique_ptr<Layer> create_layer(const LayerParameter& param, const RunContext& context) {
  // Only a program with an interpreter, which is the Python module, registers this type.
  CAFFE_REQUIRE(param.type() != "Python" || LayerRegistry::has(param.type()), "[layer ",
                param.name(), " (Python)] is written in Python, which this program cannot run; ",
                "make the net or solver in Python, with caffe.Net or caffe.get_solver");
  return LayerRegistry::get(param.type())(param, context);
}

}  // namespace caffe

#include "layers/layer.h"

#include "core/memory.h"
#include "layers/filler.h"

namespace caffe {

Blob& Layer::add_parameter(const Shape& shape, const FillerParameter& filler) {
  require_countable(shape, "a parameter");
  auto blob = std::make_shared<Blob>(shape, context_.dtype);
  fill(filler, random_key(context_.seed, name(), blobs_.size()), *blob);
  blobs_.push_back(std::move(blob));
  return *blobs_.back();
}

std::unique_ptr<Layer> create_layer(const LayerParameter& param, const RunContext& context) {
  return LayerRegistry::get(param.type())(param, context);
}

}  // namespace caffe

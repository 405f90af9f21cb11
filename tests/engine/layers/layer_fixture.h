#pragma once

#include <google/protobuf/text_format.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "layers/layer.h"
#include "support/error_of.h"

namespace caffe::testing {

template <typename Message>
Message parse_text(const std::string& text) {
  Message message;
  if (!google::protobuf::TextFormat::ParseFromString(text, &message))
    throw std::runtime_error("bad text: " + text);
  return message;
}

// One layer and its blobs, driven as a net would: bottoms and tops by name, a top with a bottom's
// name is in place.
class LayerFixture {
 public:
  explicit LayerFixture(const LayerParameter& param, RunContext run = {}) : context(run) {
    layer = create_layer(param, context);
  }
  explicit LayerFixture(const std::string& text, RunContext run = {})
      : LayerFixture(parse_text<LayerParameter>(text), run) {}

  Blob& blob(const std::string& name) {
    auto& found = blobs[name];
    if (!found) found = std::make_shared<Blob>(context.dtype);
    return *found;
  }
  Blob& bottom_shaped(const std::string& name, const Shape& shape) {
    blob(name).reshape(shape);
    return blob(name);
  }

  // Names the blobs as the prototxt does, sets up, and shapes. Errors get the layer's label, as in
  // a net.
  void set_up() {
    for (const auto& name : layer->param().bottom()) bottom.push_back(&blob(name));
    for (const auto& name : layer->param().top()) top.push_back(&blob(name));
    while (static_cast<int>(top.size()) < layer->automatic_tops()) {
      top.push_back(&blob(concat("automatic_", top.size())));
    }
    with_label(*layer, [&] {
      layer->set_up(bottom, top);
      layer->reshape(bottom, top);
    });
  }
  void reshape() {
    with_label(*layer, [&] { layer->reshape(bottom, top); });
  }
  void forward() {
    with_label(*layer, [&] { layer->run_forward(bottom, top); });
  }
  void backward(const std::vector<bool>& propagate_down) {
    with_label(*layer, [&] { layer->run_backward(top, propagate_down, bottom); });
  }
  void backward() { backward(std::vector<bool>(bottom.size(), true)); }

  // Weight of top `index` in the loss.
  float loss_weight(int index) const {
    const auto& weights = layer->param().loss_weight();
    return index < weights.size() ? weights.Get(index) : layer->default_loss_weight(index);
  }

  RunContext context;
  std::unique_ptr<Layer> layer;
  std::map<std::string, std::shared_ptr<Blob>> blobs;
  Blobs bottom;
  Blobs top;
};

template <typename T, typename Values>
void set_data(Blob& blob, const Values& values) {
  std::copy(values.begin(), values.end(), blob.overwrite_data<T>());
}
template <typename T, typename Values>
void set_diff(Blob& blob, const Values& values) {
  std::copy(values.begin(), values.end(), blob.overwrite_diff<T>());
}
template <typename T>
std::vector<T> data_of(const Blob& blob) {
  return std::vector<T>(blob.data_as<T>(), blob.data_as<T>() + blob.count());
}
template <typename T>
std::vector<T> diff_of(const Blob& blob) {
  return std::vector<T>(blob.diff_as<T>(), blob.diff_as<T>() + blob.count());
}

}  // namespace caffe::testing

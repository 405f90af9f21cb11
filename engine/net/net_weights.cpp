#include <algorithm>

#include "core/log.h"
#include "io/snapshot.h"
#include "net/net.h"

namespace caffe {

// The layer of this net for a layer of another with this name; of several, in their order. Counts
// the layers of each name in `seen`.
int Net::find_target(const std::string& source, std::map<std::string, size_t>* seen) const {
  const int index = find_layer(source, (*seen)[source]++);
  if (index < 0) CAFFE_LOG_INFO("Ignoring source layer ", source);
  return index;
}

void Net::copy_trained_from(const NetParameter& trained) {
  std::map<std::string, size_t> seen;
  for (const LayerParameter& source : trained.layer()) {
    const int index = find_target(source.name(), &seen);
    if (index < 0) continue;
    with_label(*layers_[static_cast<size_t>(index)], [&] { copy_layer(source, index); });
  }
}

void Net::copy_layer(const LayerParameter& source, int index) {
  Layer* target = layers_[static_cast<size_t>(index)].get();
  const int count = static_cast<int>(target->blobs().size());
  CAFFE_REQUIRE_CODE(source.blobs_size() <= count, ErrorCode::kData,
                     "Incompatible number of blobs for layer ", source.name(), ": the model has ",
                     source.blobs_size(), ", the net ", count);
  for (int j = 0; j < count; ++j) {
    const bool given = j < source.blobs_size() &&
                       (source.blobs(j).has_shape() || source.blobs(j).data_size() > 0 ||
                        source.blobs(j).double_data_size() > 0);
    if (given) {
      from_proto(source.blobs(j), target->blobs()[static_cast<size_t>(j)].get(),
                 concat("Cannot copy param ", j, " weights from layer '", source.name(), "'"));
      continue;
    }
    // HDF5 models hold a shared parameter only under its owner.
    CAFFE_REQUIRE_CODE(!owns_parameter(index, j), ErrorCode::kData,
                       "Incompatible number of blobs for layer ", source.name(),
                       ": the model has no blob ", j, ", the net has ", count);
  }
}

bool Net::owns_parameter(int layer, int index) const {
  return std::any_of(parameters_.begin(), parameters_.end(),
                     [&](const Parameter& p) { return p.layer == layer && p.index == index; });
}

void Net::load_weights(const std::string& files) {
  size_t begin = 0;
  while (begin <= files.size()) {
    const size_t comma = std::min(files.find(',', begin), files.size());
    const std::string file = files.substr(begin, comma - begin);
    begin = comma + 1;
    if (file.empty()) continue;
    CAFFE_LOG_INFO("Finetuning from ", file);
    try {
      copy_trained_from(read_model(file));
    } catch (Error& error) {
      if (error.message().find(file) == std::string::npos) error.prepend(file + ":");
      throw;
    }
  }
}

void Net::share_trained_with(const Net& other) {
  std::map<std::string, size_t> seen;
  for (const auto& source : other.layers_) {
    const int index = find_target(source->name(), &seen);
    if (index < 0) continue;
    Layer& target = *layers_[static_cast<size_t>(index)];
    with_label(target, [&] {
      CAFFE_REQUIRE(target.blobs().size() == source->blobs().size(),
                    "Incompatible number of blobs for layer ", source->name(), ": ",
                    source->blobs().size(), " against ", target.blobs().size());
      for (size_t j = 0; j < target.blobs().size(); ++j) {
        CAFFE_REQUIRE(target.blobs()[j]->shape() == source->blobs()[j]->shape(),
                      "Cannot share param ", j, " weights from layer '", source->name(),
                      "'; shape mismatch. Source param shape is ",
                      source->blobs()[j]->shape().str(), "; target param shape is ",
                      target.blobs()[j]->shape().str());
        target.blobs()[j]->share_data(*source->blobs()[j]);
      }
    });
  }
  collect_buffers();
  build_plan();
}

NetParameter Net::to_proto(bool with_diffs) const {
  NetParameter proto;
  proto.set_name(name_);
  for (const auto& layer : layers_) {
    LayerParameter* param = proto.add_layer();
    *param = layer->param();
    param->clear_blobs();
    for (const auto& blob : layer->blobs()) caffe::to_proto(*blob, with_diffs, param->add_blobs());
  }
  return proto;
}

}  // namespace caffe

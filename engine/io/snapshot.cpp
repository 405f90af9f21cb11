#include "io/snapshot.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "core/blob.h"
#include "core/memory.h"
#include "data/hdf5.h"
#include "io/files.h"
#include "net/upgrade.h"

namespace caffe {
namespace {

template <typename Values, typename T>
void put(const T* from, int64_t count, Values* values) {
  values->Resize(static_cast<int>(count), 0);
  std::copy_n(from, count, values->mutable_data());
}

Shape shape_of(const BlobProto& proto) {
  if (proto.has_shape())
    return Shape(std::vector<int64_t>(proto.shape().dim().begin(), proto.shape().dim().end()));
  return Shape{proto.num(), proto.channels(), proto.height(), proto.width()};
}

bool shapes_agree(const BlobProto& proto, const Shape& shape) {
  if (proto.has_shape()) return shape_of(proto) == shape;
  if (shape.axes() > 4) return false;
  const Shape legacy = shape_of(proto);
  for (int i = 0; i < 4; ++i) {
    if (legacy[i] != shape.legacy(i)) return false;
  }
  return true;
}

template <typename T>
void put_blob(const Blob& blob, bool with_diff, BlobProto* proto) {
  if constexpr (std::is_same_v<T, float>) {
    put(blob.data_as<T>(), blob.count(), proto->mutable_data());
    if (with_diff) put(blob.diff_as<T>(), blob.count(), proto->mutable_diff());
  } else {
    put(blob.data_as<T>(), blob.count(), proto->mutable_double_data());
    if (with_diff) put(blob.diff_as<T>(), blob.count(), proto->mutable_double_diff());
  }
}

// Data or diff: whichever of the two precisions the file has. False if it has neither.
template <typename T>
bool take(const google::protobuf::RepeatedField<float>& floats,
          const google::protobuf::RepeatedField<double>& doubles, int64_t count,
          const std::string& what, Buffer* buffer) {
  if (floats.empty() && doubles.empty()) return false;
  const int64_t found = doubles.empty() ? floats.size() : doubles.size();
  CAFFE_REQUIRE_CODE(found == count, ErrorCode::kData, what, ": its shape needs ", count,
                     " values, the file has ", found);
  T* to = static_cast<T*>(buffer->write());
  if (doubles.empty()) {
    std::copy(floats.begin(), floats.end(), to);
  } else {
    std::transform(doubles.begin(), doubles.end(), to, [](double v) { return static_cast<T>(v); });
  }
  return true;
}

template <typename T>
void take_blob(const BlobProto& proto, Blob* blob, const std::string& what) {
  const bool found = take<T>(proto.data(), proto.double_data(), blob->count(), what, &blob->data());
  CAFFE_REQUIRE_CODE(found || blob->count() == 0, ErrorCode::kData, what,
                     ": the file has its shape, but no values");
  take<T>(proto.diff(), proto.double_diff(), blob->count(), what, &blob->diff());
}

}  // namespace

void to_proto(const Blob& blob, bool with_diff, BlobProto* proto) {
  proto->Clear();
  for (const int64_t dim : blob.shape().dims()) proto->mutable_shape()->add_dim(dim);
  proto->mutable_shape();
  if (blob.dtype() == DType::kF32) {
    put_blob<float>(blob, with_diff, proto);
  } else {
    put_blob<double>(blob, with_diff, proto);
  }
}

void from_proto(const BlobProto& proto, Blob* blob, const std::string& what) {
  CAFFE_REQUIRE_CODE(shapes_agree(proto, blob->shape()), ErrorCode::kData, what,
                     "; shape mismatch. Source param shape is ", shape_of(proto).str(),
                     "; target param shape is ", blob->shape().str(),
                     ". To learn this layer's parameters from scratch rather than copying from ",
                     "a saved net, rename the layer.");
  if (blob->dtype() == DType::kF32) {
    take_blob<float>(proto, blob, what);
  } else {
    take_blob<double>(proto, blob, what);
  }
}

namespace {

bool named_hdf5(const std::string& path) {
  return path.size() > 3 && path.compare(path.size() - 3, 3, ".h5") == 0;
}

// By its name, so that a missing or broken file is reported as HDF5, or by the first bytes.
bool is_hdf5(const std::string& path) {
  if (named_hdf5(path)) return true;
  char start[8] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof(start));
  return std::string_view(start, sizeof(start)) == "\x89HDF\r\n\x1a\n";
}

// /data/<layer>/<index>, and /diff/... with the same names. The data of a blob that an earlier
// layer owns is not repeated.
void write_blobs(const NetParameter& net, const std::string& group, bool diffs, Hdf5File* file) {
  std::set<std::string> owned;
  std::map<std::string, bool> layers;  // whether there are blobs
  file->create_group(group);
  for (const LayerParameter& layer : net.layer()) {
    bool& full = layers[layer.name()];
    CAFFE_REQUIRE(
        layer.blobs_size() == 0 || (!full && !layer.name().empty()),
        "HDF5 keeps weights under the layers' names, but '", layer.name(),
        "' names several layers or none; give each layer with weights a name of its own, ",
        "or use snapshot_format: BINARYPROTO");
    full |= layer.blobs_size() > 0;
    const std::string path = group + "/" + layer.name();
    if (!layer.name().empty() && !file->has(path)) file->create_group(path);
    for (int i = 0; i < layer.blobs_size(); ++i) {
      const std::string name = i < layer.param_size() ? layer.param(i).name() : "";
      if (!diffs && !name.empty() && !owned.insert(name).second) continue;
      const BlobProto& blob = layer.blobs(i);
      file->write_floats(concat(path, "/", i), shape_of(blob),
                         diffs ? blob.diff().data() : blob.data().data());
    }
  }
}

BlobProto read_blob(const std::string& path, const Hdf5File& file, const std::string& dataset) {
  BlobProto blob;
  std::vector<float> values;
  CAFFE_REQUIRE_CODE(file.shape(dataset).count() <= INT32_MAX, ErrorCode::kData, path, ": dataset ",
                     dataset, " has more than 2147483647 values, the most of a blob");
  const Shape shape = file.read_floats(dataset, values);
  for (const int64_t dim : shape.dims()) blob.mutable_shape()->add_dim(dim);
  put(values.data(), static_cast<int64_t>(values.size()), blob.mutable_data());
  return blob;
}

// The number that a dataset's name is.
int index_of(const std::string& path, const std::string& group, const std::string& name) {
  const bool digits =
      !name.empty() && name.size() < 6 && name.find_first_not_of("0123456789") == std::string::npos;
  CAFFE_REQUIRE_CODE(digits, ErrorCode::kData, path, ": dataset ", name, " in group ", group,
                     " should be a number");
  return std::stoi(name);
}

constexpr int64_t kBytesPerValue = 2 * sizeof(float);  // the array, and the message that it goes to

NetParameter read_hdf5_model(const std::string& path) {
  NetParameter net;
  const Hdf5File file = Hdf5File::open(path);
  CAFFE_REQUIRE_CODE(file.has("data"), ErrorCode::kData, path,
                     " is no model: it has no group /data");
  for (const std::string& name : file.children("data")) {
    LayerParameter* layer = net.add_layer();
    layer->set_name(name);
    for (const std::string& dataset : file.children("data/" + name)) {
      require_memory(file.shape(concat("data/", name, "/", dataset)).count() * kBytesPerValue,
                     path);
      const int index = index_of(path, "data/" + name, dataset);
      while (layer->blobs_size() <= index) layer->add_blobs();
      *layer->mutable_blobs(index) = read_blob(path, file, concat("data/", name, "/", dataset));
    }
  }
  return net;
}

SolverState read_hdf5_state(const std::string& path) {
  SolverState state;
  const Hdf5File file = Hdf5File::open(path);
  CAFFE_REQUIRE_CODE(file.has("iter") && file.has("history"), ErrorCode::kData, path,
                     " is no solver state: it has no /iter and /history");
  state.set_iter(static_cast<int32_t>(file.read_int("iter")));
  if (file.has("learned_net")) state.set_learned_net(file.read_string("learned_net"));
  if (file.has("current_step"))
    state.set_current_step(static_cast<int32_t>(file.read_int("current_step")));
  for (const std::string& dataset : file.children("history")) {
    const int index = index_of(path, "history", dataset);
    while (state.history_size() <= index) state.add_history();
    *state.mutable_history(index) = read_blob(path, file, "history/" + dataset);
  }
  return state;
}

}  // namespace

NetParameter read_model(const std::string& path) {
  if (is_hdf5(path)) return read_hdf5_model(path);
  NetParameter net;
  read_message(path, "model (.caffemodel)", &net);
  CAFFE_REQUIRE_CODE(net.layer_size() + net.layers_size() > 0, ErrorCode::kData, path,
                     " is no model: it has no layers");
  upgrade_net(path, &net);
  return net;
}

void write_model(const std::string& path, const NetParameter& net) {
  if (named_hdf5(path)) {
    write_hdf5_model(path, net);
  } else {
    write_message(path, net);
  }
}

void write_hdf5_model(const std::string& path, const NetParameter& net) {
  bool diffs = false;
  for (const LayerParameter& layer : net.layer())
    diffs |= layer.blobs_size() > 0 && layer.blobs(0).diff_size() > 0;
  write_atomically(path, [&](const std::string& temporary) {
    Hdf5File file = Hdf5File::create(temporary);
    write_blobs(net, "data", false, &file);
    if (diffs) write_blobs(net, "diff", true, &file);
    file.close();
  });
}

SolverState read_state(const std::string& path) {
  if (is_hdf5(path)) return read_hdf5_state(path);
  SolverState state;
  read_message(path, "solver state (.solverstate)", &state);
  CAFFE_REQUIRE_CODE(state.has_iter(), ErrorCode::kData, path,
                     " is no solver state: it has no iteration");
  return state;
}

void write_state(const std::string& path, const SolverState& state) {
  if (!named_hdf5(path)) {
    write_message(path, state);
    return;
  }
  write_atomically(path, [&](const std::string& temporary) {
    Hdf5File file = Hdf5File::create(temporary);
    file.write_int("iter", state.iter());
    file.write_string("learned_net", state.learned_net());
    file.write_int("current_step", state.current_step());
    file.create_group("history");
    for (int i = 0; i < state.history_size(); ++i) {
      file.write_floats(concat("history/", i), shape_of(state.history(i)),
                        state.history(i).data().data());
    }
    file.close();
  });
}

}  // namespace caffe

#include "io/snapshot.h"

#include <algorithm>

#include "core/blob.h"
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
  if (proto.has_shape()) return Shape(std::vector<int64_t>(proto.shape().dim().begin(), proto.shape().dim().end()));
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
bool take(const google::protobuf::RepeatedField<float>& floats, const google::protobuf::RepeatedField<double>& doubles,
          int64_t count, const std::string& what, Buffer* buffer) {
  if (floats.empty() && doubles.empty()) return false;
  const int64_t found = doubles.empty() ? floats.size() : doubles.size();
  CAFFE_REQUIRE_CODE(found == count, ErrorCode::kData, what, ": its shape needs ", count, " values, the file has ",
                     found);
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
  CAFFE_REQUIRE_CODE(found || blob->count() == 0, ErrorCode::kData, what, ": the file has its shape, but no values");
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
                     "; shape mismatch. Source param shape is ", shape_of(proto).str(), "; target param shape is ",
                     blob->shape().str(), ". To learn this layer's parameters from scratch rather than copying from ",
                     "a saved net, rename the layer.");
  if (blob->dtype() == DType::kF32) {
    take_blob<float>(proto, blob, what);
  } else {
    take_blob<double>(proto, blob, what);
  }
}

NetParameter read_model(const std::string& path) {
  NetParameter net;
  read_message(path, "model (.caffemodel)", &net);
  CAFFE_REQUIRE_CODE(net.layer_size() + net.layers_size() > 0, ErrorCode::kData, path,
                     " is no model: it has no layers");
  upgrade_net(path, &net);
  return net;
}

void write_model(const std::string& path, const NetParameter& net) { write_message(path, net); }

SolverState read_state(const std::string& path) {
  SolverState state;
  read_message(path, "solver state (.solverstate)", &state);
  CAFFE_REQUIRE_CODE(state.has_iter(), ErrorCode::kData, path, " is no solver state: it has no iteration");
  return state;
}

void write_state(const std::string& path, const SolverState& state) { write_message(path, state); }

}  // namespace caffe

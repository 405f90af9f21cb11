#pragma once

#include <string>

#include "proto/caffe.pb.h"

namespace caffe {

// Models and solver states, binary or HDF5. Written as HDF5 where the name ends in .h5; read as
// what they are. Older model files are upgraded on reading.
NetParameter read_model(const std::string& path);
void write_model(const std::string& path, const NetParameter& net);
void write_hdf5_model(const std::string& path, const NetParameter& net);
SolverState read_state(const std::string& path);
void write_state(const std::string& path, const SolverState& state);

// BlobProto and plain arrays.
class Blob;
void to_proto(const Blob& blob, bool with_diff, BlobProto* proto);
// Shapes must agree, or legacy num/channels/height/width with leading ones. `what` starts the
// error.
void from_proto(const BlobProto& proto, Blob* blob, const std::string& what);

}  // namespace caffe

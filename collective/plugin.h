#pragma once

#include <memory>
#include <string>

#include "collective/transport.h"

namespace caffe {

inline constexpr const char* kBuiltInTransport = "tcp";

// The transport that a job means by a name, and the name that all its ranks must agree on.
struct NamedTransport {
  std::string name;
  std::unique_ptr<Transport> transport;
};

// Built in ("tcp"), or in libcaffe_transport_NAME.so (collective/caffe_transport.h), which is
// looked for in the folders of `path` (separated by ':'), in those of the environment variable
// CAFFE_TRANSPORT_PATH, in this library's own folder, and where the system looks. "infiniband"
// becomes "tcp", with a warning that says why, where there is no such library or no such device.
// Throws kInvalidArgument.
NamedTransport make_transport(const std::string& name, const std::string& path);

}  // namespace caffe

#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "collective/control.h"
#include "collective/handshake.h"
#include "collective/socket.h"
#include "collective/stream.h"

namespace caffe {

struct MeshOptions {
  Identity self;
  std::string secret;
  std::vector<Endpoint> endpoints;  // of all ranks
  std::vector<std::string> names;   // of all ranks: "rank 1 (10.0.0.2:4711)"
  int streams_per_peer = 1;
  const Tls* tls = nullptr;  // encrypts all connections, if given
  std::chrono::steady_clock::time_point deadline;
};

// Connects this rank with every other: one control connection, which goes to `control` as soon as
// it stands, and the transport's streams, which are returned as [peer][stream]. Of two ranks the
// higher dials, and dials again until the deadline. Whoever cannot prove that it belongs to the
// group is refused and logged, and changes nothing. Throws Error; the failures of other ranks are
// taken from `control`.
std::vector<std::vector<Stream>> connect_mesh(int listener, const MeshOptions& options,
                                              ControlMesh& control);

}  // namespace caffe

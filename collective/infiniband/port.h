#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collective/infiniband/verbs.h"

namespace caffe::infiniband {

// Releases a thing of libibverbs with the function that takes it back.
template <typename Thing>
struct Release {
  int (*function)(Thing*) = nullptr;
  void operator()(Thing* thing) const { function(thing); }
};
template <typename Thing>
using Owned = std::unique_ptr<Thing, Release<Thing>>;

// An active port of a device, open.
struct Port {
  const Verbs* verbs = nullptr;
  Owned<ibv_context> context;
  std::string name;  // "mlx5_0:1"
  uint8_t number = 0;
  uint16_t lid = 0;
  ibv_mtu mtu = IBV_MTU_1024;
  bool ethernet = false;  // RoCE
  int gid_index = 0;
  ibv_gid gid{};
};

// The port that CAFFE_IB_DEVICE names ("mlx5_0" or "mlx5_0:2"), else the first active one. With
// RoCE its newest address (RoCE v2 with an IPv4 address if there is one), or the one of
// CAFFE_IB_GID_INDEX. Throws the reason, a std::string, where there is none.
Port open_port();

}  // namespace caffe::infiniband

#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "collective/infiniband/port.h"

namespace caffe::infiniband {

// What both ends of a queue pair must know of each other.
struct End {
  uint16_t lid = 0;
  uint16_t mtu = 0;
  uint32_t queue_pair = 0;
  uint32_t first_packet = 0;
  ibv_gid gid{};
};

// Tells every peer, by its authenticated socket, this rank's end of the pair's link, and hears the
// other. Throws a std::string. Sockets of no peer are -1.
std::vector<End> exchange(const std::vector<int>& sockets, const std::vector<End>& own, int wake,
                          std::chrono::steady_clock::time_point deadline);

// Returns when all peers have called it.
void wait_for_all(const std::vector<int>& sockets, int wake,
                  std::chrono::steady_clock::time_point deadline);

}  // namespace caffe::infiniband

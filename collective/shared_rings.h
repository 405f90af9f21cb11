#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "collective/socket.h"

namespace caffe {

// Two streams of bytes, one in each direction, between two processes (or threads) of one host,
// through memory that both have mapped: a ring each. Neither side ever waits for the other; who has
// nothing to do says so by rest(), and is woken by means that are not this class's.
//
// A peer can put wrong bytes into the rings, but not harm this process: sizes are checked, and the
// memory cannot be made smaller.
class SharedRings {
 public:
  // Memory for a pair, as a file without a name; empty where the system has none to give.
  static Descriptor create();
  // One side, 0 or 1, of such a pair. Throws kCommunication if `memory` is something else.
  SharedRings(const Descriptor& memory, int side);

  struct Moved {
    size_t bytes = 0;    // 0: the ring is full, or empty
    bool wakes = false;  // the other side rests until this has happened
  };
  Moved send(const iovec* parts, size_t count);
  Moved receive(const iovec* parts, size_t count);

  // Until rise(), the other side's Moved::wakes says when this one can go on; false if that is now.
  bool rest(bool to_send, bool to_receive);
  void rise();

 private:
  struct Ring;
  struct Shared;
  struct Unmap {
    void operator()(Shared* shared) const;
  };
  static uint64_t used(const Ring& ring);
  template <typename Copy>
  static Moved move(Ring& ring, std::atomic<uint64_t>& counter, uint64_t limit,
                    std::atomic<uint32_t>& rests, const iovec* parts, size_t count,
                    const Copy& copy);

  std::unique_ptr<Shared, Unmap> shared_;
  Ring* outgoing_ = nullptr;
  Ring* incoming_ = nullptr;
};

}  // namespace caffe

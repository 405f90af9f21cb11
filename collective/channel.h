#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <optional>
#include <utility>

#include "collective/shared_rings.h"
#include "collective/stream.h"

namespace caffe {

// How bytes go to one peer and come from it: through its socket; or, where both share memory,
// through that. Then the socket carries a byte as a bell when the peer rests, and shows its end.
// Errors are those of Stream.
class Channel {
 public:
  Channel() = default;
  Channel(Stream socket, std::optional<SharedRings> rings)
      : socket_(std::move(socket)), rings_(std::move(rings)) {}

  bool shares_memory() const { return rings_.has_value(); }
  int descriptor() const { return socket_.get(); }
  ssize_t send(const iovec* parts, size_t count);
  ssize_t receive(const iovec* parts, size_t count);

  // Around a poll of the descriptor. The events to wait for until something can be sent or
  // received; 0: it can be now.
  short begin_wait(bool to_send, bool to_receive);
  void end_wait(short events);

 private:
  ssize_t ring_the_bell(SharedRings::Moved moved);

  Stream socket_;
  std::optional<SharedRings> rings_;
  bool ended_ = false;  // the socket, where there are rings
};

}  // namespace caffe

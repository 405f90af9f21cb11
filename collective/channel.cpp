#include "collective/channel.h"

#include <poll.h>

#include <array>
#include <cerrno>

namespace caffe {

ssize_t Channel::send(const iovec* parts, size_t count) {
  if (!rings_) return socket_.send(parts, count);
  const SharedRings::Moved moved = rings_->send(parts, count);
  if (moved.bytes == 0 && ended_) {
    errno = EPIPE;
    return -1;
  }
  return ring_the_bell(moved);
}

// What a peer wrote before its end is still there.
ssize_t Channel::receive(const iovec* parts, size_t count) {
  if (!rings_) return socket_.receive(parts, count);
  const SharedRings::Moved moved = rings_->receive(parts, count);
  if (moved.bytes == 0 && ended_) return 0;
  return ring_the_bell(moved);
}

// A bell that cannot be rung is one of a socket full of bells, or of a peer that is gone.
ssize_t Channel::ring_the_bell(SharedRings::Moved moved) {
  constexpr char kBell = '!';
  if (moved.wakes) socket_.send(&kBell, 1);
  if (moved.bytes > 0) return static_cast<ssize_t>(moved.bytes);
  errno = EAGAIN;
  return -1;
}

short Channel::begin_wait(bool to_send, bool to_receive) {
  if (rings_) return ended_ || !rings_->rest(to_send, to_receive) ? short{0} : short{POLLIN};
  return static_cast<short>((to_send ? POLLOUT : 0) | (to_receive ? POLLIN : 0));
}

void Channel::end_wait(short events) {
  if (!rings_) return;
  rings_->rise();
  if (events == 0) return;
  std::array<char, 64> bells;
  const ssize_t heard = socket_.receive(bells.data(), bells.size());
  if (heard == 0 || (heard < 0 && errno != EAGAIN && errno != EINTR)) ended_ = true;
}

}  // namespace caffe

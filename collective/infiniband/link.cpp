#include "collective/infiniband/link.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace caffe::infiniband {
namespace {

using Clock = std::chrono::steady_clock;

// An End on its way: big-endian.
using Encoded = std::array<unsigned char, 28>;

Encoded encode(const End& end) {
  Encoded bytes{};
  const uint16_t shorts[] = {htons(end.lid), htons(end.mtu)};
  const uint32_t words[] = {htonl(end.queue_pair), htonl(end.first_packet)};
  std::memcpy(bytes.data(), shorts, 4);
  std::memcpy(bytes.data() + 4, words, 8);
  std::memcpy(bytes.data() + 12, end.gid.raw, 16);
  return bytes;
}

End decode(const Encoded& bytes) {
  uint16_t shorts[2];
  uint32_t words[2];
  End end;
  std::memcpy(shorts, bytes.data(), 4);
  std::memcpy(words, bytes.data() + 4, 8);
  std::memcpy(end.gid.raw, bytes.data() + 12, 16);
  end.lid = ntohs(shorts[0]);
  end.mtu = ntohs(shorts[1]);
  end.queue_pair = ntohl(words[0]);
  end.first_packet = ntohl(words[1]);
  return end;
}

void tell(int socket, size_t rank, const unsigned char* data, size_t size) {
  // So few bytes find room in the socket's buffer.
  if (::send(socket, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) {
    throw "rank " + std::to_string(rank) + " cannot be told: " + std::strerror(errno);
  }
}

void hear(int socket, size_t rank, unsigned char* data, size_t size, int wake,
          Clock::time_point deadline) {
  for (size_t have = 0; have < size;) {
    const ssize_t got = recv(socket, data + have, size - have, MSG_DONTWAIT);
    if (got > 0) {
      have += static_cast<size_t>(got);
      continue;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      throw "rank " + std::to_string(rank) + " left while the group connected";
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) throw "rank " + std::to_string(rank) + " did not answer in time";
    pollfd waiting[] = {{socket, POLLIN, 0}, {wake, POLLIN, 0}};
    poll(waiting, 2, static_cast<int>(left));
    if (waiting[1].revents) throw std::string("the group was ended while it connected");
  }
}

}  // namespace

std::vector<End> exchange(const std::vector<int>& sockets, const std::vector<End>& own, int wake,
                          Clock::time_point deadline) {
  for (size_t rank = 0; rank < sockets.size(); ++rank) {
    if (sockets[rank] < 0) continue;
    const Encoded bytes = encode(own[rank]);
    tell(sockets[rank], rank, bytes.data(), bytes.size());
  }
  std::vector<End> theirs(sockets.size());
  for (size_t rank = 0; rank < sockets.size(); ++rank) {
    if (sockets[rank] < 0) continue;
    Encoded bytes;
    hear(sockets[rank], rank, bytes.data(), bytes.size(), wake, deadline);
    theirs[rank] = decode(bytes);
  }
  return theirs;
}

void wait_for_all(const std::vector<int>& sockets, int wake, Clock::time_point deadline) {
  unsigned char ready = 1;
  for (size_t rank = 0; rank < sockets.size(); ++rank) {
    if (sockets[rank] >= 0) tell(sockets[rank], rank, &ready, 1);
  }
  for (size_t rank = 0; rank < sockets.size(); ++rank) {
    if (sockets[rank] >= 0) hear(sockets[rank], rank, &ready, 1, wake, deadline);
  }
}

}  // namespace caffe::infiniband

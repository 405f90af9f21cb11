#include "collective/host_mates.h"

#include <openssl/rand.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace caffe {
namespace {

using Clock = std::chrono::steady_clock;
using Random = std::array<unsigned char, 16>;

// What the lower rank of a pair says first, and what comes with the memory.
struct Invitation {
  Random name;
  Random proof;
};
struct Offer {
  int32_t rank;
  Random proof;
};

// A name that no file has: it is known within one network namespace only, and ends with its socket.
sockaddr_un hidden_address(const Random& name, socklen_t* size) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  *size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Descriptor local_socket() {
  return Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

bool of_own_user(const Descriptor& socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == geteuid();
}

// Room for one descriptor beside a message.
union Attachment {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

msghdr message_of(iovec* part, Attachment* attachment) {
  msghdr message{};
  message.msg_iov = part;
  message.msg_iovlen = 1;
  message.msg_control = attachment->bytes.data();
  message.msg_controllen = attachment->bytes.size();
  return message;
}

bool send_with(const Descriptor& socket, const Descriptor& memory, Offer offer) {
  iovec part{&offer, sizeof(offer)};
  Attachment attachment{};
  msghdr message = message_of(&part, &attachment);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = memory.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return sendmsg(socket.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(offer));
}

// Empty if what came is no offer.
Descriptor receive_with(const Descriptor& socket, Offer* offer) {
  iovec part{offer, sizeof(*offer)};
  Attachment attachment{};
  msghdr message = message_of(&part, &attachment);
  const ssize_t received = recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* header = received >= 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int)))
    return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  Descriptor memory(fd);
  return received == static_cast<ssize_t>(sizeof(*offer)) ? std::move(memory) : Descriptor();
}

class Meeting {
 public:
  explicit Meeting(Wiring& wiring)
      : wiring_(wiring),
        deadline_(Clock::now() + wiring.timeout),
        rings_(static_cast<size_t>(wiring.world)) {}

  // Every step waits only for what others did in the step before, so nobody waits in a circle.
  std::vector<std::optional<SharedRings>> hold() {
    const Descriptor door = invite();
    for (int peer = 0; peer < wiring_.rank; ++peer) accept_invitation(peer);
    std::vector<bool> expected(static_cast<size_t>(wiring_.world));
    for (int peer = wiring_.rank + 1; peer < wiring_.world; ++peer)
      expected[static_cast<size_t>(peer)] = hear<uint8_t>(peer) != 0;
    take_offers(door, expected);
    for (int peer = wiring_.rank + 1; peer < wiring_.world; ++peer)
      say<uint8_t>(peer, rings_[static_cast<size_t>(peer)].has_value());
    for (int peer = 0; peer < wiring_.rank; ++peer) {
      if (hear<uint8_t>(peer) == 0) rings_[static_cast<size_t>(peer)].reset();
    }
    return std::move(rings_);
  }

 private:
  Descriptor invite() {
    CAFFE_REQUIRE_CODE(
        RAND_bytes(reinterpret_cast<unsigned char*>(&invitation_), sizeof(invitation_)) == 1,
        ErrorCode::kCommunication, "OpenSSL has no random numbers");
    socklen_t size = 0;
    const sockaddr_un address = hidden_address(invitation_.name, &size);
    Descriptor door = local_socket();
    // Where this fails, nobody is met.
    if (bind(door.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0)
      listen(door.get(), SOMAXCONN);
    for (int peer = wiring_.rank + 1; peer < wiring_.world; ++peer) say(peer, invitation_);
    return door;
  }

  void accept_invitation(int peer) {
    const auto invitation = hear<Invitation>(peer);
    socklen_t size = 0;
    const sockaddr_un address = hidden_address(invitation.name, &size);
    const Descriptor socket = local_socket();
    Descriptor memory;
    const bool offered =
        connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
        of_own_user(socket) && (memory = SharedRings::create()) &&
        send_with(socket, memory, {wiring_.rank, invitation.proof});
    if (offered) rings_[static_cast<size_t>(peer)].emplace(memory, 1);
    say<uint8_t>(peer, offered);
  }

  // All offers of expected peers are there already, perhaps beside strangers'.
  void take_offers(const Descriptor& door, const std::vector<bool>& expected) {
    while (true) {
      const Descriptor socket(accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) return;
      if (!of_own_user(socket)) continue;
      Offer offer{};
      const Descriptor memory = receive_with(socket, &offer);
      const bool known = memory && offer.proof == invitation_.proof && offer.rank >= 0 &&
                         offer.rank < wiring_.world && expected[static_cast<size_t>(offer.rank)];
      if (known) rings_[static_cast<size_t>(offer.rank)].emplace(memory, 0);
    }
  }

  // ---- a few bytes over the stream of a peer ----

  template <typename T>
  void say(int peer, const T& what) {
    const char* bytes = reinterpret_cast<const char*>(&what);
    move(peer, POLLOUT, sizeof(T),
         [&](Stream& stream, size_t done) { return stream.send(bytes + done, sizeof(T) - done); });
  }

  template <typename T>
  T hear(int peer) {
    T what{};
    char* bytes = reinterpret_cast<char*>(&what);
    move(peer, POLLIN, sizeof(T), [&](Stream& stream, size_t done) {
      return stream.receive(bytes + done, sizeof(T) - done);
    });
    return what;
  }

  template <typename Step>
  void move(int peer, short event, size_t size, const Step& step) {
    Stream& stream = wiring_.streams[static_cast<size_t>(peer)].at(0);
    for (size_t done = 0; done < size;) {
      const ssize_t moved = step(stream, done);
      if (moved > 0) {
        done += static_cast<size_t>(moved);
        continue;
      }
      CAFFE_REQUIRE_CODE(moved < 0 && (errno == EAGAIN || errno == EINTR),
                         ErrorCode::kCommunication, "rank ", peer,
                         " closed its connection while the group was forming");
      wait(peer, stream.get(), event);
    }
  }

  void wait(int peer, int descriptor, short event) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    CAFFE_REQUIRE_CODE(left > 0, ErrorCode::kCommunication, "rank ", peer,
                       " did not get on while the group was forming");
    std::array<pollfd, 2> waiting{pollfd{descriptor, event, 0}, pollfd{wiring_.wake, POLLIN, 0}};
    poll(waiting.data(), waiting.size(), static_cast<int>(left));
    CAFFE_REQUIRE_CODE(waiting[1].revents == 0, ErrorCode::kCommunication,
                       "the group ended while it was forming");
  }

  Wiring& wiring_;
  const Clock::time_point deadline_;
  Invitation invitation_{};
  std::vector<std::optional<SharedRings>> rings_;
};

}  // namespace

std::vector<std::optional<SharedRings>> meet_host_mates(Wiring& wiring) {
  return Meeting(wiring).hold();
}

}  // namespace caffe

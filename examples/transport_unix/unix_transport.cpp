// A transport from outside: messages between the ranks of one host over Unix sockets.
// Builds with nothing but the header:
//   c++ -std=c++17 -O2 -shared -fPIC -I INCLUDE unix_transport.cpp -o libcaffe_transport_unix.so
#include <caffe_transport.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

int64_t milliseconds_until(Clock::time_point end) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
}

// Messages in the order in which their bytes travel.
struct Queue {
  caffe_message* head = nullptr;
  caffe_message* tail = nullptr;

  void push(caffe_message* message) {
    message->next = nullptr;
    (head ? tail->next : head) = message;
    tail = message;
  }
  // A message that is complete belongs to its owner again, so it leaves the queue first.
  void advance(uint64_t bytes) {
    caffe_message* const message = head;
    if (message->done + bytes == message->bytes) head = message->next;
    message->done += bytes;
  }
};

struct Peer {
  int socket = -1;
  Queue outgoing, incoming;
};

struct Lost {
  int peer;
  std::string what;
};

class UnixTransport {
 public:
  UnixTransport() {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // An address that the kernel makes up, in the abstract namespace: no file is left behind.
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socklen_t size = sizeof(name);
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t)) ||
        listen(listener_, 1024) ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size)) {
      throw std::string("no Unix socket: ") + std::strerror(errno);
    }
    address_.assign(name.sun_path + 1, size - sizeof(sa_family_t) - 1);
  }

  ~UnixTransport() {
    close(listener_);
    for (const Peer& peer : peers_) {
      if (peer.socket >= 0) close(peer.socket);
    }
  }

  const std::string& address() const { return address_; }

  // Of two ranks the higher calls, and says who it is.
  void connect(const caffe_wiring& wiring) {
    wake_ = wiring.wake;
    peers_.resize(wiring.world);
    const auto deadline = Clock::now() + std::chrono::milliseconds(wiring.timeout_ms);
    for (int rank = 0; rank < wiring.rank; ++rank) call(rank, wiring);
    for (int rank = wiring.rank + 1; rank < wiring.world; ++rank) answer(wiring, deadline);
    close(listener_);
    listener_ = -1;
  }

  void send(caffe_message* message) { peers_[message->peer].outgoing.push(message); }
  void receive(caffe_message* message) { peers_[message->peer].incoming.push(message); }

  bool progress(int64_t patience_ms) {
    if (move()) return true;
    wait(patience_ms);
    return move();
  }

  const caffe_transport_counters& counters() const { return counters_; }

 private:
  void call(int rank, const caffe_wiring& wiring) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string address = wiring.addresses[rank];
    std::memcpy(name.sun_path + 1, address.data(), address.size());
    const auto size = static_cast<socklen_t>(sizeof(sa_family_t) + 1 + address.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    peers_[rank].socket = fd;
    const int32_t self = wiring.rank;
    if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&name), size) ||
        ::send(fd, &self, sizeof(self), MSG_NOSIGNAL) != sizeof(self)) {
      throw "rank " + std::to_string(rank) + " is not on this host: " + std::strerror(errno);
    }
  }

  void answer(const caffe_wiring& wiring, Clock::time_point deadline) {
    pollfd waiting[] = {{listener_, POLLIN, 0}, {wiring.wake, POLLIN, 0}};
    const int64_t left = milliseconds_until(deadline);
    if (left <= 0 || poll(waiting, 2, static_cast<int>(left)) <= 0 || waiting[1].revents) {
      throw std::string("not all ranks have called");
    }
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    // Whoever runs under another user is none of us.
    ucred other{};
    socklen_t size = sizeof(other);
    int32_t rank = -1;
    const bool fine = fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size) == 0 &&
                      other.uid == getuid() && recv(fd, &rank, sizeof(rank), MSG_WAITALL) == 4 &&
                      rank > wiring.rank && rank < wiring.world && peers_[rank].socket < 0;
    if (!fine) {
      if (fd >= 0) close(fd);
      throw std::string("somebody called who does not belong to the group");
    }
    peers_[rank].socket = fd;
  }

  bool move() {
    bool moved = false;
    for (size_t rank = 0; rank < peers_.size(); ++rank) {
      Peer& peer = peers_[rank];
      if (peer.outgoing.head) moved |= step(static_cast<int>(rank), peer, true);
      if (peer.incoming.head) moved |= step(static_cast<int>(rank), peer, false);
    }
    return moved;
  }

  bool step(int rank, Peer& peer, bool sends) {
    Queue& queue = sends ? peer.outgoing : peer.incoming;
    char* const data = queue.head->data + queue.head->done;
    const uint64_t size = queue.head->bytes - queue.head->done;
    const ssize_t moved = sends ? ::send(peer.socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
                                : recv(peer.socket, data, size, MSG_DONTWAIT);
    if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (moved < 0) throw Lost{rank, std::strerror(errno)};
    if (moved == 0) throw Lost{rank, "it closed the connection"};
    (sends ? counters_.bytes_sent : counters_.bytes_received) += static_cast<uint64_t>(moved);
    queue.advance(static_cast<uint64_t>(moved));
    return true;
  }

  void wait(int64_t patience_ms) {
    polled_.assign(1, {wake_, POLLIN, 0});
    for (const Peer& peer : peers_) {
      const int events = (peer.outgoing.head ? POLLOUT : 0) | (peer.incoming.head ? POLLIN : 0);
      if (events) polled_.push_back({peer.socket, static_cast<short>(events), 0});
    }
    const auto start = Clock::now();
    poll(polled_.data(), polled_.size(), static_cast<int>(patience_ms));
    const auto waited = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start);
    counters_.nanoseconds_waited += static_cast<uint64_t>(waited.count());
  }

  int listener_ = -1;
  int wake_ = -1;
  std::string address_;
  std::vector<Peer> peers_;
  std::vector<pollfd> polled_;
  caffe_transport_counters counters_{};
};

// ---- the C functions: no exception leaves them ----

UnixTransport& of(void* transport) { return *static_cast<UnixTransport*>(transport); }

void explain(const std::string& reason, char* error, uint64_t size) {
  std::snprintf(error, size, "%s", reason.c_str());
}

const char* unavailable() { return nullptr; }

void* create(char* error, uint64_t size) {
  try {
    return new UnixTransport;
  } catch (const std::string& reason) {
    explain(reason, error, size);
    return nullptr;
  }
}

void destroy(void* transport) { delete &of(transport); }
const char* address(void* transport) { return of(transport).address().c_str(); }

int connect_all(void* transport, const caffe_wiring* wiring, char* error, uint64_t size) {
  try {
    of(transport).connect(*wiring);
    return 0;
  } catch (const std::string& reason) {
    explain(reason, error, size);
    return -1;
  }
}

void send_message(void* transport, caffe_message* message) { of(transport).send(message); }
void receive_message(void* transport, caffe_message* message) { of(transport).receive(message); }

int progress(void* transport, int64_t patience_ms, int32_t* peer, char* error, uint64_t size) {
  try {
    return of(transport).progress(patience_ms) ? 1 : 0;
  } catch (const Lost& lost) {
    *peer = lost.peer;
    explain(lost.what, error, size);
    return -1;
  }
}

void counters(void* transport, caffe_transport_counters* counters) {
  *counters = of(transport).counters();
}

const caffe_transport_api kApi = {
    CAFFE_TRANSPORT_VERSION,
    sizeof(caffe_transport_api),
    unavailable,
    0,
    create,
    destroy,
    address,
    connect_all,
    send_message,
    receive_message,
    progress,
    counters,
};

}  // namespace

extern "C" const caffe_transport_api* caffe_transport_entry(void) { return &kApi; }

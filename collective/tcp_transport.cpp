// Messages over one TCP connection per pair of ranks, or through memory between those of one host.
// Sizes are known on both sides, so nothing but the payload travels.
#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "collective/channel.h"
#include "collective/host_mates.h"
#include "collective/transport.h"
#include "core/error.h"

namespace caffe {
namespace {

constexpr size_t kMaxParts = 8;
constexpr std::chrono::microseconds kSoon{10};

// Requests in the order in which their bytes travel.
class Queue {
 public:
  bool empty() const { return head_ == nullptr; }

  void push(caffe_message& request) {
    request.next = nullptr;
    (head_ ? tail_->next : head_) = &request;
    tail_ = &request;
  }

  size_t gather(std::array<iovec, kMaxParts>& parts) const {
    size_t count = 0;
    for (caffe_message* item = head_; item && count < kMaxParts; item = item->next) {
      parts[count++] = {item->data + item->done, item->bytes - item->done};
    }
    return count;
  }

  void advance(size_t bytes) {
    while (bytes > 0) {
      const size_t step = std::min(bytes, head_->bytes - head_->done);
      // Unlink first: who sees a request complete may use it anew.
      caffe_message* const item = head_;
      if (item->done + step == item->bytes) head_ = item->next;
      item->done += step;
      bytes -= step;
    }
  }

 private:
  caffe_message* head_ = nullptr;
  caffe_message* tail_ = nullptr;
};

class TcpTransport : public Transport {
 public:
  std::string local_address() override { return ""; }
  int streams_per_peer() const override { return 1; }

  void connect(Wiring wiring) override {
    wake_ = wiring.wake;
    peers_.resize(wiring.world);
    active_.reserve(wiring.world);
    polled_.reserve(wiring.world + 1);
    std::vector<std::optional<SharedRings>> rings(wiring.world);
    if (wiring.shares_memory) rings = meet_host_mates(wiring);
    for (int peer = 0; peer < wiring.world; ++peer) {
      if (peer == wiring.rank) continue;
      peers_[peer].channel = Channel(std::move(wiring.streams[peer].at(0)), std::move(rings[peer]));
    }
  }

  void send(Request& request) override { enqueue(request, peers_[request.peer].outgoing); }
  void receive(Request& request) override { enqueue(request, peers_[request.peer].incoming); }

  bool progress(std::chrono::milliseconds patience) override {
    if (move() || move_soon()) return true;
    wait(patience);
    return move();
  }

 private:
  struct Peer {
    Channel channel;
    Queue outgoing;
    Queue incoming;
    bool active = false;
  };

  void enqueue(Request& request, Queue& queue) {
    if (request.bytes == 0) return;
    queue.push(request);
    Peer& peer = peers_[request.peer];
    if (!peer.active) active_.push_back(request.peer);
    peer.active = true;
  }

  // One turn for every peer that something is queued for.
  bool move() {
    bool moved = false;
    for (size_t i = 0; i < active_.size();) {
      Peer& peer = peers_[active_[i]];
      if (!peer.outgoing.empty()) moved |= send_some(active_[i], peer);
      if (!peer.incoming.empty()) moved |= receive_some(active_[i], peer);
      if (peer.outgoing.empty() && peer.incoming.empty()) {
        peer.active = false;
        active_[i] = active_.back();
        active_.pop_back();
      } else {
        ++i;
      }
    }
    return moved;
  }

  // Peers that share memory answer within less time than it takes to rest and be woken.
  bool move_soon() {
    for (const int rank : active_) {
      if (!peers_[rank].channel.shares_memory()) return false;
    }
    const auto end = std::chrono::steady_clock::now() + kSoon;
    while (std::chrono::steady_clock::now() < end) {
      if (move()) return true;
    }
    return false;
  }

  bool send_some(int rank, Peer& peer) {
    std::array<iovec, kMaxParts> parts;
    const size_t count = peer.outgoing.gather(parts);
    const ssize_t sent = peer.channel.send(parts.data(), count);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      throw PeerLost{rank, concat("sending failed: ", errno_text(errno))};
    }
    counters_.bytes_sent.fetch_add(sent, std::memory_order_relaxed);
    peer.outgoing.advance(sent);
    return sent > 0;
  }

  bool receive_some(int rank, Peer& peer) {
    std::array<iovec, kMaxParts> parts;
    const size_t count = peer.incoming.gather(parts);
    const ssize_t received = peer.channel.receive(parts.data(), count);
    if (received == 0) throw PeerLost{rank, "it closed the connection"};
    if (received < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      throw PeerLost{rank, concat("receiving failed: ", errno_text(errno))};
    }
    counters_.bytes_received.fetch_add(received, std::memory_order_relaxed);
    peer.incoming.advance(received);
    return true;
  }

  void wait(std::chrono::milliseconds patience) {
    polled_.clear();
    polled_.push_back({wake_, POLLIN, 0});
    bool ready = false;
    for (const int rank : active_) {
      Peer& peer = peers_[rank];
      const short events = peer.channel.begin_wait(!peer.outgoing.empty(), !peer.incoming.empty());
      polled_.push_back({peer.channel.descriptor(), events, 0});
      ready |= events == 0;
    }
    if (!ready) {
      const auto start = std::chrono::steady_clock::now();
      poll(polled_.data(), polled_.size(), static_cast<int>(patience.count()));
      const auto waited = std::chrono::steady_clock::now() - start;
      counters_.nanoseconds_waited.fetch_add(
          std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count(),
          std::memory_order_relaxed);
    }
    for (size_t i = 0; i < active_.size(); ++i)
      peers_[active_[i]].channel.end_wait(polled_[i + 1].revents);
  }

  int wake_ = -1;
  std::vector<Peer> peers_;
  std::vector<int> active_;  // ranks with something queued
  std::vector<pollfd> polled_;
};

const bool kRegistered =
    TransportRegistry::add("tcp", [] { return std::make_unique<TcpTransport>(); });

}  // namespace
}  // namespace caffe

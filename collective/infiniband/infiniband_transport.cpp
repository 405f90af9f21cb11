// The transport `infiniband`: messages over reliable connections (RC queue pairs) of an InfiniBand
// or RoCE device.
//
// Everything travels through buffers that are registered once, when the group connects: a message
// is copied into pieces of at most kPiece bytes, each one send. A rank may have kCredits pieces
// under way to a peer; the peer gives a credit back with each piece that has been taken out of its
// buffer, in the immediate data of what it sends anyway, or in an empty send of its own. So there
// is always a receive waiting for what comes, and no rank reserves more than it was asked for.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "collective/caffe_transport.h"
#include "collective/infiniband/link.h"
#include "collective/infiniband/port.h"

namespace caffe::infiniband {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kPiece = 64 << 10;
constexpr uint32_t kCredits = 16;
constexpr uint32_t kSpare = 4;  // empty sends, which only give credits back, need receives, too
constexpr uint32_t kReceives = kCredits + kSpare;
constexpr uint32_t kSends = kCredits + kSpare;
constexpr uint32_t kOwedAtMost = kCredits / 2;  // then they are given back by an empty send
constexpr size_t kPeerBytes = size_t{kPiece} * (kReceives + kCredits);

// Messages in the order in which they travel.
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

// A piece that has come and nobody has asked for yet.
struct Arrival {
  uint32_t slot;
  uint32_t bytes;
};

struct Peer {
  Owned<ibv_qp> queue_pair;
  char* receives = nullptr;  // kReceives pieces
  char* sends = nullptr;     // kCredits pieces
  Queue outgoing, incoming;
  std::array<Arrival, kReceives> arrived{};
  uint32_t first_arrived = 0, count_arrived = 0;
  uint32_t credits = kCredits;  // pieces that may still be sent
  uint32_t owed = 0;            // credits to be given back
  uint32_t next_send = 0;       // piece of `sends`
  uint32_t pieces_under_way = 0;
  uint32_t empties_under_way = 0;
  std::string broken;  // why nothing can be sent to it any more
};

struct Lost {
  int peer;
  std::string what;
};

// A work request's id tells what has ended.
enum class Kind : uint64_t { kReceive, kPiece, kEmpty };
uint64_t id_of(Kind kind, size_t peer, uint32_t slot) {
  return static_cast<uint64_t>(kind) | uint64_t{slot} << 8 | static_cast<uint64_t>(peer) << 32;
}

// Memory that the device reads and writes.
class Pinned {
 public:
  Pinned(const Verbs& verbs, ibv_pd* domain, size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw std::string("no memory for the buffers");
    region_ = {verbs.reg_mr(domain, data_, bytes, IBV_ACCESS_LOCAL_WRITE), {verbs.dereg_mr}};
    if (!region_) {
      const std::string why = std::strerror(errno);
      munmap(data_, bytes);
      throw std::to_string(bytes >> 20) + " MB of buffers cannot be registered (" + why +
          "): raise the limit of locked memory (ulimit -l unlimited; in a container " +
          "--ulimit memlock=-1)";
    }
  }
  ~Pinned() {
    region_.reset();
    if (bytes_ > 0) munmap(data_, bytes_);
  }
  Pinned(const Pinned&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  uint32_t key() const { return region_->lkey; }

 private:
  size_t bytes_;
  void* data_ = nullptr;
  Owned<ibv_mr> region_;
};

class InfinibandTransport {
 public:
  InfinibandTransport() : port_(open_port()), verbs_(*port_.verbs) {}

  // What this rank has sent must reach peers that still wait for it.
  ~InfinibandTransport() {
    const auto deadline = Clock::now() + std::chrono::seconds(2);
    while (under_way() && Clock::now() < deadline) {
      if (!poll_device()) wait(1);
    }
  }

  void connect(const caffe_wiring& wiring) {
    const std::vector<int> sockets(wiring.streams, wiring.streams + wiring.world);
    const Closer closer{sockets};
    wake_ = wiring.wake;
    rank_ = wiring.rank;
    const auto deadline = Clock::now() + std::chrono::milliseconds(wiring.timeout_ms);
    const std::vector<End> own = open(wiring.world);
    const std::vector<End> theirs = exchange(sockets, own, wake_, deadline);
    for (size_t rank = 0; rank < peers_.size(); ++rank) {
      if (sockets[rank] >= 0) connect_pair(rank, own[rank], theirs[rank]);
    }
    wait_for_all(sockets, wake_, deadline);
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
  struct Closer {
    const std::vector<int>& sockets;
    ~Closer() {
      for (const int socket : sockets) {
        if (socket >= 0) close(socket);
      }
    }
  };

  // ---- connecting ----

  std::vector<End> open(int world) {
    const int others = world - 1;
    domain_ = {verbs_.alloc_pd(port_.context.get()), {verbs_.dealloc_pd}};
    channel_ = {verbs_.create_comp_channel(port_.context.get()), {verbs_.destroy_comp_channel}};
    if (!domain_ || !channel_) fail("cannot be opened");
    fcntl(channel_->fd, F_SETFL, fcntl(channel_->fd, F_GETFL) | O_NONBLOCK);
    const int entries = std::max(1, others) * static_cast<int>(kReceives + kSends);
    completions_ = {verbs_.create_cq(port_.context.get(), entries, nullptr, channel_.get(), 0),
                    {verbs_.destroy_cq}};
    if (!completions_) fail("has no room for " + std::to_string(entries) + " completions");
    memory_ = std::make_unique<Pinned>(verbs_, domain_.get(), others * kPeerBytes);
    std::mt19937 random{std::random_device{}()};
    std::vector<End> ends(world);
    peers_.resize(world);
    char* next = memory_->data();
    for (int rank = 0; rank < world; ++rank) {
      if (rank == rank_) continue;
      Peer& peer = peers_[rank];
      peer.receives = next;
      peer.sends = next + size_t{kPiece} * kReceives;
      next += kPeerBytes;
      open_pair(rank);
      ends[rank] = {port_.lid, static_cast<uint16_t>(port_.mtu), peer.queue_pair->qp_num,
                    static_cast<uint32_t>(random()) & 0xffffff, port_.gid};
    }
    return ends;
  }

  void open_pair(size_t rank) {
    ibv_qp_init_attr wanted{};
    wanted.send_cq = wanted.recv_cq = completions_.get();
    wanted.cap = {kSends, kReceives, 1, 1, 0};
    wanted.qp_type = IBV_QPT_RC;
    Peer& peer = peers_[rank];
    peer.queue_pair = {verbs_.create_qp(domain_.get(), &wanted), {verbs_.destroy_qp}};
    if (!peer.queue_pair) fail("gives no queue pair");
    ibv_qp_attr state{};
    state.qp_state = IBV_QPS_INIT;
    state.port_num = port_.number;
    // No rank may read or write another's memory: there are sends only.
    modify(rank, state, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    for (uint32_t slot = 0; slot < kReceives; ++slot) post_receive(rank, slot);
  }

  void connect_pair(size_t rank, const End& own, const End& their) {
    ibv_qp_attr ready{};
    ready.qp_state = IBV_QPS_RTR;
    ready.path_mtu = static_cast<ibv_mtu>(std::min<int>(own.mtu, their.mtu));
    ready.dest_qp_num = their.queue_pair;
    ready.rq_psn = their.first_packet;
    ready.max_dest_rd_atomic = 1;
    ready.min_rnr_timer = 12;  // 0.6 ms
    ready.ah_attr.dlid = their.lid;
    ready.ah_attr.port_num = port_.number;
    ready.ah_attr.is_global = port_.ethernet;
    ready.ah_attr.grh.dgid = their.gid;
    ready.ah_attr.grh.sgid_index = static_cast<uint8_t>(port_.gid_index);
    ready.ah_attr.grh.hop_limit = 64;
    modify(rank, ready,
           IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
               IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    ibv_qp_attr sending{};
    sending.qp_state = IBV_QPS_RTS;
    sending.timeout = 17;  // 0.5 s without an answer, seven times over
    sending.retry_cnt = 7;
    sending.rnr_retry = 7;
    sending.sq_psn = own.first_packet;
    sending.max_rd_atomic = 1;
    modify(rank, sending,
           IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
               IBV_QP_MAX_QP_RD_ATOMIC);
  }

  void modify(size_t rank, ibv_qp_attr attributes, int mask) {
    const int error = verbs_.modify_qp(peers_[rank].queue_pair.get(), &attributes, mask);
    if (error != 0) {
      fail("cannot reach rank " + std::to_string(rank) + " (" + std::strerror(error) + ")");
    }
  }

  [[noreturn]] void fail(const std::string& what) { throw "port " + port_.name + " " + what; }

  // ---- moving ----

  bool move() {
    bool moved = poll_device();
    for (size_t rank = 0; rank < peers_.size(); ++rank) {
      Peer& peer = peers_[rank];
      while (peer.count_arrived > 0 && peer.incoming.head) moved |= take(rank);
      while (peer.outgoing.head && peer.credits > 0 && peer.pieces_under_way < kCredits &&
             peer.broken.empty())
        moved |= give(rank);
      if (peer.owed >= kOwedAtMost && peer.empties_under_way < kSpare && peer.broken.empty()) {
        post_send(rank, Kind::kEmpty, 0, 0);
      }
      // A peer that has ended may have sent all that this rank needs.
      if (!peer.broken.empty() && (peer.outgoing.head || peer.incoming.head)) {
        throw Lost{static_cast<int>(rank), peer.broken};
      }
    }
    return moved;
  }

  // Copies the piece that came first into the message that waits for it.
  bool take(size_t rank) {
    Peer& peer = peers_[rank];
    const Arrival arrival = peer.arrived[peer.first_arrived];
    caffe_message* const message = peer.incoming.head;
    if (arrival.bytes > message->bytes - message->done) {
      throw Lost{static_cast<int>(rank), "it sent more than it was asked for"};
    }
    std::memcpy(message->data + message->done, piece(peer.receives, arrival.slot), arrival.bytes);
    peer.first_arrived = (peer.first_arrived + 1) % kReceives;
    --peer.count_arrived;
    ++peer.owed;
    post_receive(rank, arrival.slot);
    counters_.bytes_received += arrival.bytes;
    peer.incoming.advance(arrival.bytes);
    return true;
  }

  bool give(size_t rank) {
    Peer& peer = peers_[rank];
    caffe_message* const message = peer.outgoing.head;
    const auto bytes =
        static_cast<uint32_t>(std::min<uint64_t>(kPiece, message->bytes - message->done));
    std::memcpy(piece(peer.sends, peer.next_send), message->data + message->done, bytes);
    post_send(rank, Kind::kPiece, peer.next_send, bytes);
    peer.next_send = (peer.next_send + 1) % kCredits;
    --peer.credits;
    counters_.bytes_sent += bytes;
    peer.outgoing.advance(bytes);
    return true;
  }

  static char* piece(char* pieces, uint32_t slot) { return pieces + size_t{kPiece} * slot; }

  void post_receive(size_t rank, uint32_t slot) {
    ibv_sge memory{reinterpret_cast<uint64_t>(piece(peers_[rank].receives, slot)), kPiece,
                   memory_->key()};
    ibv_recv_wr request{id_of(Kind::kReceive, rank, slot), nullptr, &memory, 1};
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_recv(peers_[rank].queue_pair.get(), &request, &bad);
    if (error != 0) peers_[rank].broken = std::strerror(error);
  }

  // Every send gives back the credits that are owed.
  void post_send(size_t rank, Kind kind, uint32_t slot, uint32_t bytes) {
    Peer& peer = peers_[rank];
    ibv_sge memory{reinterpret_cast<uint64_t>(piece(peer.sends, slot)), bytes, memory_->key()};
    ibv_send_wr request{};
    request.wr_id = id_of(kind, rank, slot);
    request.sg_list = &memory;
    request.num_sge = bytes > 0 ? 1 : 0;
    request.opcode = IBV_WR_SEND_WITH_IMM;
    request.send_flags = IBV_SEND_SIGNALED;
    request.imm_data = htonl(peer.owed);
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(peer.queue_pair.get(), &request, &bad);
    if (error != 0) {
      peer.broken = std::strerror(error);
      return;
    }
    peer.owed = 0;
    ++(kind == Kind::kPiece ? peer.pieces_under_way : peer.empties_under_way);
  }

  // Takes note of what has ended. Whether anything had.
  bool poll_device() {
    if (!completions_) return false;
    std::array<ibv_wc, 32> ended;
    const int count = ibv_poll_cq(completions_.get(), static_cast<int>(ended.size()), ended.data());
    for (int i = 0; i < count; ++i) note(ended[i]);
    return count > 0;
  }

  void note(const ibv_wc& ended) {
    const auto kind = static_cast<Kind>(ended.wr_id & 0xff);
    const auto slot = static_cast<uint32_t>(ended.wr_id >> 8 & 0xffffff);
    Peer& peer = peers_[ended.wr_id >> 32];
    if (kind == Kind::kPiece) --peer.pieces_under_way;
    if (kind == Kind::kEmpty) --peer.empties_under_way;
    if (ended.status != IBV_WC_SUCCESS) {
      if (peer.broken.empty()) peer.broken = verbs_.wc_status_str(ended.status);
      return;
    }
    if (kind != Kind::kReceive) return;
    peer.credits += ntohl(ended.imm_data);
    if (ended.byte_len > 0) {
      peer.arrived[(peer.first_arrived + peer.count_arrived) % kReceives] = {slot, ended.byte_len};
      ++peer.count_arrived;
    } else {
      post_receive(ended.wr_id >> 32, slot);
    }
  }

  bool under_way() const {
    return std::any_of(peers_.begin(), peers_.end(), [](const Peer& peer) {
      return peer.broken.empty() && peer.pieces_under_way > 0;
    });
  }

  void wait(int64_t patience_ms) {
    // Asked for before the last look: what ends after it sends an event.
    if (ibv_req_notify_cq(completions_.get(), 0) != 0 || poll_device()) return;
    pollfd waiting[] = {{channel_->fd, POLLIN, 0}, {wake_, POLLIN, 0}};
    const auto start = Clock::now();
    poll(waiting, 2, static_cast<int>(patience_ms));
    const auto waited = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start);
    counters_.nanoseconds_waited += static_cast<uint64_t>(waited.count());
    ibv_cq* queue = nullptr;
    void* context = nullptr;
    if (waiting[0].revents && verbs_.get_cq_event(channel_.get(), &queue, &context) == 0) {
      verbs_.ack_cq_events(queue, 1);
    }
  }

  const Port port_;
  const Verbs& verbs_;
  int wake_ = -1;
  int rank_ = 0;
  // Released from the last to the first.
  Owned<ibv_pd> domain_;
  Owned<ibv_comp_channel> channel_;
  Owned<ibv_cq> completions_;
  std::unique_ptr<Pinned> memory_;
  std::vector<Peer> peers_;
  caffe_transport_counters counters_{};
};

// ---- the C functions: no exception leaves them ----

InfinibandTransport& of(void* transport) { return *static_cast<InfinibandTransport*>(transport); }

void explain(const std::string& reason, char* error, uint64_t size) {
  std::snprintf(error, size, "%s", reason.c_str());
}

const char* unavailable() {
  static const std::string reason = []() -> std::string {
    try {
      open_port();
      return "";
    } catch (const std::string& why) {
      return why;
    }
  }();
  return reason.empty() ? nullptr : reason.c_str();
}

void* create(char* error, uint64_t size) {
  try {
    return new InfinibandTransport;
  } catch (const std::string& reason) {
    explain(reason, error, size);
    return nullptr;
  }
}

void destroy(void* transport) { delete &of(transport); }
const char* address(void*) { return ""; }

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
    1,
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
}  // namespace caffe::infiniband

extern "C" const caffe_transport_api* caffe_transport_entry(void) {
  return &caffe::infiniband::kApi;
}

#include "collective/mesh.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/log.h"

namespace caffe {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{1000};
// Without an answer by then the connection is begun anew: the kernel's own repeats become rare.
constexpr milliseconds kConnectPatience{5000};
// How long an accepted connection may take to prove itself, and how many may be about it.
constexpr milliseconds kProvePatience{5000};
constexpr size_t kMinPending = 64;
constexpr int kAcceptsPerTurn = 16;
// How long a rank that has failed goes on telling others why.
constexpr milliseconds kFarewell{500};
constexpr size_t kMaxWarnings = 20;

// Carries bytes between a socket and its handshake as far as possible without waiting.
Shake carry(int fd, Handshake& handshake, std::string& why) {
  while (true) {
    std::string& output = handshake.output();
    while (!output.empty()) {
      const ssize_t sent = send(fd, output.data(), output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) return Shake::kGoingOn;
      if (sent < 0) break;  // what can still be read tells more
      output.erase(0, sent);
    }
    if (handshake.finished()) return Shake::kDone;
    char buffer[2048];
    const size_t wanted = std::min(sizeof(buffer), handshake.wanted());
    const ssize_t got = recv(fd, buffer, wanted, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Shake::kGoingOn;
    if (got <= 0) {
      why = got < 0 ? errno_text(errno) : "it closed the connection during the handshake";
      return Shake::kBroken;
    }
    handshake.feed(buffer, got);
  }
}

// A connection on its way into the group: who it is first, then, if asked for, its encryption.
struct Entrance {
  Descriptor socket;
  std::optional<Handshake> handshake;
  TlsSession session;

  Shake go_on(const Tls* tls, bool dials, std::string& why) {
    const Shake proved = carry(socket.get(), *handshake, why);
    if (proved != Shake::kDone || handshake->refusal() != Verdict::kNone || !tls) return proved;
    if (!session) session = tls->begin(socket.get(), dials);
    const Shake state = shake(*session);
    if (state == Shake::kBroken) why = "the TLS handshake failed";
    return state;
  }
  bool writes() const {
    return !handshake->output().empty() || (session && wants_to_write(*session));
  }
  void reset() {
    session.reset();
    socket.reset();
    handshake.reset();
  }
  Stream stream() { return Stream(std::move(socket), std::move(session)); }
};

class MeshBuilder {
 public:
  MeshBuilder(int listener, const MeshOptions& options, ControlMesh& control)
      : listener_(listener), options_(options), control_(control) {
    const int world = options.self.world;
    lanes_ = 1 + options.streams_per_peer;
    slots_.resize(world);
    trouble_.resize(world);
    for (int peer = 0; peer < world; ++peer) {
      if (peer == self()) continue;
      slots_[peer].resize(options.streams_per_peer);
      missing_ += lanes_;
      for (int lane = 0; lane < lanes_ && peer < self(); ++lane) {
        dials_.emplace_back();
        dials_.back().peer = peer;
        dials_.back().lane = lane;
      }
    }
    stands_.assign(world, std::vector<bool>(lanes_, false));
    max_pending_ = std::max<size_t>(kMinPending, 2 * world * lanes_);
  }

  std::vector<std::vector<Stream>> build() {
    // After a failure it goes on for a moment, so that those who are just connecting learn the
    // cause instead of finding the door shut.
    std::optional<Clock::time_point> end;
    while (missing_ > 0) {
      const auto now = Clock::now();
      if (!control_.failed() && now >= options_.deadline) fail_at_deadline();
      if (control_.failed() && !end) end = now + kFarewell;
      if (end && now >= *end) break;
      until_ = end.value_or(options_.deadline);
      begin_dials();
      wait();
      serve_dials();
      serve_pending();
      accept_new();
    }
    control_.throw_if_failed();
    return std::move(slots_);
  }

 private:
  struct Dial {
    int peer = -1;
    int lane = -1;
    Entrance entrance;
    bool connected = false;
    milliseconds pause{0};
    Clock::time_point next{};  // of the next attempt, or when to give this one up
  };
  struct Trouble {
    std::string text;
    bool explained = false;
  };
  struct Pending {
    Entrance entrance;
    std::string from;
    Clock::time_point deadline;
  };

  int self() const { return options_.self.rank; }

  // The group cannot come about: all ranks that are connected, or will be, are told.
  void give_up(int peer, const std::string& text) {
    control_.fail({ErrorCode::kCommunication, peer,
                   concat(options_.names[self()], " cannot form the group: ", text)});
  }

  void fail_at_deadline() {
    std::string text;
    int first = -1;
    for (int peer = 0; peer < options_.self.world; ++peer) {
      if (peer == self() || std::count(stands_[peer].begin(), stands_[peer].end(), false) == 0) {
        continue;
      }
      if (first < 0) first = peer;
      const std::string& why = trouble_[peer].text;
      text += concat(text.empty() ? "" : "; ", options_.names[peer], ": ",
                     why.empty() ? "it has not called" : why);
    }
    give_up(first, "not connected before the timeout: " + text);
  }

  // Why a peer is not connected yet. What a whole handshake has brought to light counts for more
  // than a connection that just ended.
  void note(int peer, const std::string& text, bool explained) {
    if (explained || !trouble_[peer].explained) trouble_[peer] = {text, explained};
  }

  void begin_dials() {
    const auto now = Clock::now();
    for (Dial& dial : dials_) {
      Entrance& entrance = dial.entrance;
      if (entrance.handshake && dial.connected) continue;
      if (entrance.handshake && now >= dial.next)
        retry(dial, "no answer to the connection request");
      if (entrance.handshake || now < dial.next) continue;
      entrance.socket = begin_connect(options_.endpoints[dial.peer]);
      if (!entrance.socket) {
        retry(dial, concat("cannot connect: ", errno_text(errno)));
        continue;
      }
      dial.connected = false;
      entrance.handshake = Handshake::dial(options_.self, options_.secret, dial.peer, dial.lane);
      dial.next = now + kConnectPatience;
    }
  }

  void retry(Dial& dial, const std::string& why) {
    note(dial.peer, why, false);
    dial.entrance.reset();
    dial.pause = std::clamp(2 * dial.pause, kFirstPause, kLongestPause);
    dial.next = Clock::now() + dial.pause;
  }

  void watch(int fd, bool writes) {
    polled_.push_back({fd, static_cast<short>(writes ? POLLIN | POLLOUT : POLLIN), 0});
  }

  void wait() {
    polled_.clear();
    watch(control_.failed() ? -1 : control_.wake(), false);
    watch(listener_, false);
    auto until = until_;
    for (const Dial& dial : dials_) {
      if (dial.entrance.handshake) {
        watch(dial.entrance.socket.get(), !dial.connected || dial.entrance.writes());
      }
      if (!dial.connected) until = std::min(until, dial.next);
    }
    for (const Pending& pending : pending_) {
      watch(pending.entrance.socket.get(), pending.entrance.writes());
      until = std::min(until, pending.deadline);
    }
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    poll(polled_.data(), polled_.size(), std::max(0, static_cast<int>(left.count())));
  }

  void serve_dials() {
    for (size_t i = 0; i < dials_.size();) {
      if (dials_[i].entrance.handshake && serve_dial(dials_[i])) {
        std::swap(dials_[i], dials_.back());
        dials_.pop_back();
      } else {
        ++i;
      }
    }
  }

  // Whether it is settled: the connection stands, or never will.
  bool serve_dial(Dial& dial) {
    if (!dial.connected) {
      const int fd = dial.entrance.socket.get();
      pollfd writable{fd, POLLOUT, 0};
      if (poll(&writable, 1, 0) == 0) return false;
      int error = 0;
      socklen_t size = sizeof(error);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        retry(dial, concat("cannot connect: ", errno_text(error)));
        return false;
      }
      dial.connected = true;
    }
    std::string why;
    const Shake state = dial.entrance.go_on(options_.tls, true, why);
    if (state == Shake::kGoingOn) return false;
    const Handshake& handshake = *dial.entrance.handshake;
    const Verdict refusal = handshake.refusal();
    // Somebody else may sit at the port for a moment; a rank of ours would speak our protocol.
    if (state == Shake::kDone && refusal == Verdict::kProtocol) why = handshake.reason();
    if (!why.empty()) {
      retry(dial, why);
      return false;
    }
    if (refusal != Verdict::kNone) {
      give_up(dial.peer,
              concat("connecting to ", options_.names[dial.peer], ": ", handshake.reason()));
    }
    install(dial.peer, dial.lane, dial.entrance.stream());
    return true;
  }

  void accept_new() {
    Endpoint from;
    // A few at a time, so that a flood leaves the others their turn.
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      Descriptor socket = accept_from(listener_, from);
      if (!socket) return;
      if (pending_.size() >= max_pending_) {
        refuse(pending_.front(), "too many connections wait to prove themselves");
        pending_.pop_front();
      }
      auto admit = [this](const Claim& claim) { return judge(claim); };
      Pending& pending = pending_.emplace_back();
      pending.entrance.socket = std::move(socket);
      pending.entrance.handshake.emplace(
          Handshake::accept(options_.self, options_.secret, std::move(admit)));
      pending.from = from.text();
      pending.deadline = Clock::now() + kProvePatience;
    }
  }

  Verdict judge(const Claim& claim) const {
    if (claim.rank <= self() || claim.lane < 0 || claim.lane >= lanes_) return Verdict::kRank;
    return stands_[claim.rank][claim.lane] ? Verdict::kDuplicate : Verdict::kNone;
  }

  void serve_pending() {
    for (auto item = pending_.begin(); item != pending_.end();) {
      item = serve(*item) ? pending_.erase(item) : std::next(item);
    }
  }

  // Whether it is settled, one way or the other.
  bool serve(Pending& pending) {
    std::string why;
    const Shake state = pending.entrance.go_on(options_.tls, false, why);
    if (state == Shake::kGoingOn) {
      if (Clock::now() < pending.deadline) return false;
      refuse(pending, "it did not prove itself in time");
      return true;
    }
    const Handshake& handshake = *pending.entrance.handshake;
    if (state == Shake::kBroken) {
      refuse(pending, why);
    } else if (handshake.refusal() == Verdict::kNone) {
      install(handshake.claim().rank, handshake.claim().lane, pending.entrance.stream());
    } else {
      refuse(pending, handshake.reason());
      // One of us, in this very attempt, that can never fit: waiting would be in vain.
      if (handshake.authentic() && handshake.refusal() != Verdict::kEpoch) {
        const int rank = handshake.claim().rank;
        const bool known = rank >= 0 && rank < options_.self.world;
        give_up(rank,
                concat(known ? options_.names[rank] : concat("rank ", rank), ", calling from ",
                       pending.from, ", does not fit: ", handshake.reason()));
      }
    }
    return true;
  }

  void refuse(const Pending& pending, const std::string& why) {
    const Handshake& handshake = *pending.entrance.handshake;
    const int rank = handshake.has_claim() ? handshake.claim().rank : -1;
    const std::string text = concat("refused a connection from ", pending.from, ": ", why);
    // Believed only as far as a hint for the message at the deadline.
    if (rank >= 0 && rank < options_.self.world) note(rank, text, handshake.finished());
    if (++warnings_ > kMaxWarnings) return;
    CAFFE_LOG_WARNING(options_.names[self()], " ", text,
                      rank >= 0 ? concat(" (it says it is rank ", rank, ")") : "",
                      warnings_ == kMaxWarnings ? "; no more of these will be logged" : "");
  }

  void install(int peer, int lane, Stream stream) {
    if (lane == 0) {
      control_.add(peer, std::move(stream));
    } else {
      slots_[peer][lane - 1] = std::move(stream);
    }
    stands_[peer][lane] = true;
    --missing_;
  }

  const int listener_;
  const MeshOptions& options_;
  ControlMesh& control_;
  int lanes_ = 0;
  int missing_ = 0;
  Clock::time_point until_;
  size_t max_pending_ = 0;
  size_t warnings_ = 0;
  std::vector<std::vector<Stream>> slots_;  // [peer][stream]
  std::vector<std::vector<bool>> stands_;   // [peer][lane]
  std::vector<Trouble> trouble_;            // [peer]
  std::vector<Dial> dials_;
  std::deque<Pending> pending_;
  std::vector<pollfd> polled_;
};

}  // namespace

std::vector<std::vector<Stream>> connect_mesh(int listener, const MeshOptions& options,
                                              ControlMesh& control) {
  return MeshBuilder(listener, options, control).build();
}

}  // namespace caffe

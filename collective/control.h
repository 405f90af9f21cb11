#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collective/socket.h"
#include "collective/stream.h"
#include "core/error.h"

namespace caffe {

// The first thing that went wrong in a group.
struct Failure {
  ErrorCode code = ErrorCode::kCommunication;
  int rank = -1;     // the rank at fault
  std::string text;  // names that rank and its host
};

// One connection to every other rank, served by a thread of its own: heartbeats, and the news of a
// failure, which every rank passes on to all others before it tells its own caller. So a rank that
// dies is known to all within milliseconds, one that falls silent after `silence_limit`, and all
// report the same first cause.
// All functions may be called from any thread.
class ControlMesh {
 public:
  struct Options {
    int rank = 0;
    std::vector<std::string> names;  // of all ranks: "rank 1 (10.0.0.2:4711)"
    std::chrono::milliseconds heartbeat_interval{1000};
    std::chrono::milliseconds silence_limit{25'000};
  };

  ControlMesh() = default;
  ~ControlMesh() { stop(); }

  // At most once. Before it, fail() works and is remembered.
  void start(const Options& options);
  // A connection that went through the handshake.
  void add(int peer, Stream socket);
  // Takes leave of the peers, so that the end of the connections is no failure to them. At most
  // one second.
  void stop();

  // Only the first failure counts. Tells all peers and signals wake().
  void fail(const Failure& failure) noexcept;
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  void throw_if_failed() const;
  // Readable once there is a failure.
  int wake() const { return wake_.descriptor(); }

  // Waits until there is a failure or `peer` has taken leave, but no longer than the limit.
  void await_news_of(int peer, std::chrono::milliseconds limit);
  bool has_left(int peer) const;

  // The number of operations that this rank has begun travels with its heartbeats.
  void set_begun(uint64_t operations) { begun_.store(operations, std::memory_order_relaxed); }
  uint64_t begun_by(int peer) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Peer {
    Stream socket;
    std::string incoming;
    std::string outgoing;
    Clock::time_point heard{};
    uint64_t begun = 0;
    bool left = false;
  };

  void run();
  void beat(Clock::time_point now);
  void check_silence(Clock::time_point now);
  void serve(int peer);
  bool parse(int peer);
  void flush(int peer);
  void close(int peer);
  void append_failure(Peer& peer);
  void record(Failure failure, int heard_from);
  void linger();

  Options options_;
  Event wake_;  // signalled by a failure
  Event stir_;  // makes the thread look again
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> begun_{0};
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::vector<Peer> peers_;  // guarded by mutex_, as all below
  Failure failure_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace caffe

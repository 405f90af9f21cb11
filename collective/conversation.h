#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "collective/control.h"
#include "collective/transport.h"

namespace caffe {

// Messages between ranks within one operation after another, with everything that must not be
// forgotten: a deadline on progress, failures of other ranks, and the check that both sides are in
// the same operation. One thread at a time.
class Conversation {
 public:
  enum class Kind : uint32_t {
    kAllReduce = 1,
    kBroadcast = 2,
    kBarrier = 3,
    kAllGather = 4,
    kAllReduceBf16 = 5,
    kReduceApplyGather = 6
  };
  struct Options {
    int rank = 0;
    int world = 1;
    std::vector<std::string> names;  // "rank 1 (10.0.0.2:4711)"
    std::chrono::milliseconds timeout{0};
  };

  Conversation(Transport& transport, ControlMesh& control, const Options& options);

  int rank() const { return options_.rank; }
  int world() const { return options_.world; }
  void set_timeout(std::chrono::milliseconds timeout) { options_.timeout = timeout; }

  // Begins an operation. `size` in bytes; it must be equal on all ranks, as must `root`, except
  // that for kAllGather it is this rank's own share.
  void begin(Kind kind, uint64_t size, int root = 0);
  // Queue a message. The first one to or from a peer in an operation brings a header with it.
  void send(Request& request, int peer, const void* data, size_t bytes);
  void receive(Request& request, int peer, void* data, size_t bytes);
  // Waits until it is complete.
  void await(const Request& request);
  // Waits for the peer's header and returns the size in it.
  uint64_t await_header(int peer);
  // Moves something or waits a little. `peer` is who to blame if nothing ever comes.
  void advance(int peer);
  // Waits until all headers have travelled, after which their memory may be used again.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  struct Header {
    uint32_t kind;
    uint32_t root;
    uint64_t operation;
    uint64_t size;
  };
  struct Greeting {  // the header of one peer in one direction
    Header header{};
    Request request;
    uint64_t operation = 0;  // for which it was queued last
    bool checked = true;
  };

  void check_headers();
  void check_deadline(int peer);
  [[noreturn]] void explain(const PeerLost& lost);
  [[noreturn]] void fail_with(int peer, const std::string& text);
  std::string describe(const Header& header) const;
  std::string late_rank(int& peer) const;

  Transport& transport_;
  ControlMesh& control_;
  Options options_;
  Header current_{};
  std::vector<Greeting> outgoing_;  // [peer]
  std::vector<Greeting> incoming_;  // [peer]
  std::vector<int> unchecked_;      // peers whose header is awaited
  std::vector<int> greeted_;        // peers to which a header is under way
  Clock::time_point last_progress_{};
  Clock::time_point next_warning_{};
  Clock::duration warning_pause_{};
};

}  // namespace caffe

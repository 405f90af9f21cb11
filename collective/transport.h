#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/caffe_transport.h"
#include "collective/stream.h"
#include "core/registry.h"

namespace caffe {

// One message under way. The caller owns it and its memory and leaves both alone until complete().
struct Request : caffe_message {
  void prepare(int to_or_from, void* memory, size_t size) {
    peer = to_or_from;
    data = static_cast<char*>(memory);
    bytes = size;
    done = 0;
    next = nullptr;
  }
  bool complete() const { return done == bytes; }
};

// Thrown by a transport where a peer cannot be reached any more. Never leaves the Communicator,
// which asks the control connections for the true cause.
struct PeerLost {
  int peer;
  std::string what;
};

// What a transport gets for its connections.
struct Wiring {
  int rank = 0;
  int world = 0;
  std::vector<std::string> addresses;        // local_address() of every rank
  std::vector<std::vector<Stream>> streams;  // [peer][i]: authenticated connections, if asked for
  bool shares_memory = false;                // ranks of one host may, if the transport can
  int wake = -1;                             // readable when waiting has become pointless
  std::chrono::milliseconds timeout{0};      // for connect()
};

struct TransportCounters {
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<int64_t> nanoseconds_waited{0};
};

// Moves messages between the ranks of one group. Between two ranks, in one direction, messages
// arrive in the order they were sent and with the sizes they were sent with; so there are no tags.
// Only one thread uses it at a time. It knows nothing of heartbeats, deadlines and the cause of a
// failure: all that is the Communicator's.
class Transport {
 public:
  virtual ~Transport() = default;

  // Opaque text that the other ranks need to reach this one; may be empty. No ';' in it.
  virtual std::string local_address() = 0;
  // How many authenticated connections to every peer connect() shall be given.
  virtual int streams_per_peer() const = 0;
  virtual void connect(Wiring wiring) = 0;

  // Queue a message. A message of 0 bytes is complete at once and nothing travels.
  virtual void send(Request& request) = 0;
  virtual void receive(Request& request) = 0;

  // Moves what can be moved. If that is nothing, waits for it up to `patience` or until the wake
  // descriptor is readable. Returns whether anything moved. Throws PeerLost.
  virtual bool progress(std::chrono::milliseconds patience) = 0;

  const TransportCounters& counters() const { return counters_; }

 protected:
  TransportCounters counters_;
};

// A built-in transport registers itself at the end of its file: adding one touches that file and
// its test. Others are loaded (collective/plugin.h).
struct TransportTag {
  static constexpr const char* kKind = "transport";
};
using TransportRegistry = Registry<TransportTag, std::function<std::unique_ptr<Transport>()>>;

}  // namespace caffe

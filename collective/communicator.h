#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/part.h"

namespace caffe {

struct ListenOptions {
  // An address, a host name or a device name of this machine. "": SPARK_LOCAL_IP if that is set,
  // else an address that other hosts can reach if there is one, else loopback.
  std::string interface;
  // How data travels: "tcp", which is built in, or the name of a transport from outside
  // (collective/plugin.h). Heartbeats and failures always travel by TCP.
  std::string transport = "tcp";
  std::string transport_path = "";  // folders in which those are looked for, separated by ':'
};

struct ConnectOptions {
  // TLS 1.3, with a key made of the secret; only with the built-in transport.
  bool encrypt = false;
  // Ranks of one host exchange data through memory that both map, where the built-in transport
  // carries it and does not encrypt. Equal on all ranks.
  bool share_memory = true;
  int rank = 0;
  int world = 1;
  std::vector<std::string> addresses;  // address() of every rank, by rank
  std::string secret;                  // at least 16 random bytes, equal on all ranks
  std::string epoch;                   // fresh for every attempt, equal on all ranks; <= 255 bytes
  uint64_t config_hash = 0;            // of all that must be equal on all ranks
  std::chrono::milliseconds timeout{60'000};              // for connect() as a whole
  std::chrono::milliseconds collective_timeout{600'000};  // for an operation without progress
  std::chrono::milliseconds heartbeat_interval{1'000};
  std::chrono::milliseconds silence_limit{25'000};  // a rank without heartbeats is dead after it
};

// How floats travel in a sum. Sums are float32 in any case.
enum class Wire {
  kFloat32,
  // Rounded to bfloat16, to the nearest, ties to even, at every hop: half the bytes. Messages of up
  // to 64 KiB, where latency counts and not size, travel as float32 nevertheless.
  kBf16,
};

struct CommunicatorStats {
  double seconds_waited = 0;  // within operations, for other ranks or the network
  uint64_t bytes_sent = 0;    // payload and headers
  uint64_t bytes_received = 0;
  uint64_t operations = 0;
};

// One rank of a group of `world` processes (or threads) that work on the same data.
//
//   auto group = Communicator::listen({});
//   ... gather group->address() over all ranks ...
//   group->connect(options);
//   group->allreduce_sum(gradients, n);
//
// Threads: operations, connect() and the destructor must not overlap each other; they may be
// called from different threads, such as one that only communicates. All ranks call the same
// operations in the same order with the same sizes; a difference is found and reported, as is a
// second operation begun while one is under way. While an operation runs, its memory belongs to
// it; the rest of the program computes on. abort() and stats() may be called from any thread at
// any time, also during connect(), but not during destruction.
//
// Errors are caffe::Error with kCommunication (or kCancelled, if abort() was given that), naming
// the rank at fault and its host and port. Whatever happens to one rank is known to all: a process
// that ends or a connection that breaks within milliseconds, a stopped process or a lost machine
// after silence_limit, no progress after collective_timeout. After an error the object is dead:
// every later call throws that same first error. A new group needs new objects and a new epoch.
// Destruction without abort() takes leave: it is an error only to those that still need this rank.
class Communicator {
 public:
  // Listens at an ephemeral port.
  static std::unique_ptr<Communicator> listen(const ListenOptions& options = {});
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // How the other ranks reach this one: to be passed on as it is.
  virtual const std::string& address() const = 0;

  // Connects all ranks with each other; every pair proves that it knows the secret and agrees on
  // world, epoch and config_hash. Returns when all ranks stand. Connections by others are refused.
  virtual void connect(const ConnectOptions& options) = 0;

  virtual int rank() const = 0;
  virtual int world() const = 0;

  // data[i] becomes the sum over all ranks, with the same bits on all; for two ranks it is a + b.
  // The bits depend only on the data, n, world and wire, which must be equal on all ranks.
  virtual void allreduce_sum(float* data, size_t n, Wire wire = Wire::kFloat32) = 0;
  // What the owner of a part of a sum does with it.
  using Apply = std::function<void(size_t begin, size_t count)>;
  // A sum whose use is shared out: every part of `data` is summed on one rank, its owner, with the
  // bits of allreduce_sum; as soon as some of it is complete the owner calls apply(begin, count)
  // for it, and what that leaves in results[begin, begin + count) is sent to all, which end with
  // the same bits in `results`. Afterwards `data` holds sums and parts of sums. Where n is small,
  // all ranks own all of it, and `apply` must do the same everywhere. It runs in the caller's
  // thread and must not throw.
  virtual void reduce_apply_gather(float* data, float* results, size_t n, const Apply& apply) = 0;
  // What `rank` owns of n floats there. Depends on n and the group alone.
  virtual Part owned(size_t n, int rank) const = 0;
  // `root`'s bytes to all.
  virtual void broadcast(void* data, size_t bytes, int root) = 0;
  // Returns when all ranks have called it.
  virtual void barrier() = 0;
  // Everybody's bytes, by rank; they may differ in size. For small things: at most 64 MiB each.
  virtual std::vector<std::string> allgather(const std::string& mine) = 0;

  // Ends every wait of every rank, now and in future, with an error that carries `reason`. Only
  // the first cause counts. `code`: kCommunication or kCancelled.
  virtual void abort(const std::string& reason,
                     ErrorCode code = ErrorCode::kCommunication) noexcept = 0;

  virtual CommunicatorStats stats() const = 0;

 protected:
  Communicator() = default;
};

}  // namespace caffe

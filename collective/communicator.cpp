#include "collective/communicator.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "collective/algorithms.h"
#include "collective/bf16.h"
#include "collective/control.h"
#include "collective/conversation.h"
#include "collective/mesh.h"
#include "collective/plugin.h"
#include "collective/transport.h"
#include "core/log.h"

namespace caffe {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kSmallBytes = 64 * 1024;  // up to here latency counts, beyond it bandwidth
constexpr size_t kMinSecretBytes = 16;
constexpr size_t kMaxEpochBytes = 255;

void check(const ConnectOptions& options) {
  CAFFE_REQUIRE(options.world >= 1, "a group has at least one rank, not ", options.world);
  CAFFE_REQUIRE(options.rank >= 0 && options.rank < options.world, "rank ", options.rank,
                " is not within a group of ", options.world);
  CAFFE_REQUIRE(options.addresses.size() == static_cast<size_t>(options.world), "a group of ",
                options.world, " ranks needs as many addresses, not ", options.addresses.size());
  CAFFE_REQUIRE(options.secret.size() >= kMinSecretBytes, "the secret of the group has ",
                options.secret.size(), " bytes; at least ", kMinSecretBytes, " are needed");
  CAFFE_REQUIRE(options.epoch.size() <= kMaxEpochBytes, "the epoch has ", options.epoch.size(),
                " bytes; at most ", kMaxEpochBytes, " are allowed");
  for (const milliseconds limit : {options.timeout, options.collective_timeout,
                                   options.heartbeat_interval, options.silence_limit}) {
    CAFFE_REQUIRE(limit.count() > 0, "a time limit of a group is ", limit.count(),
                  " ms; it must be positive");
  }
  CAFFE_REQUIRE(options.silence_limit >= 2 * options.heartbeat_interval, "silence_limit (",
                options.silence_limit.count(), " ms) must be at least twice heartbeat_interval (",
                options.heartbeat_interval.count(), " ms)");
}

// An address is "host:port", with ";" and the transport's own part behind it if it has one.
std::string host_part(const std::string& address) { return address.substr(0, address.find(';')); }

std::string transport_part(const std::string& address) {
  const size_t at = address.find(';');
  return at == std::string::npos ? "" : address.substr(at + 1);
}

class Member : public Communicator {
 public:
  explicit Member(const ListenOptions& options)
      : named_(make_transport(options.transport, options.transport_path)),
        transport_(*named_.transport) {
    Endpoint endpoint = local_endpoint(options.interface);
    listener_ = listen_at(endpoint);
    address_ = endpoint.text();
    const std::string own = transport_.local_address();
    if (!own.empty()) address_ += ";" + own;
  }

  ~Member() override {
    // First the news that this rank leaves, then the end of its data connections.
    control_.stop();
  }

  const std::string& address() const override { return address_; }
  int rank() const override { return rank_; }
  int world() const override { return world_; }

  void connect(const ConnectOptions& options) override {
    check(options);
    const Busy busy(*this);
    CAFFE_REQUIRE(!connected_ && listener_, "connect was called before on this communicator");
    control_.throw_if_failed();
    rank_ = options.rank;
    world_ = options.world;
    try {
      if (world() > 1) form_group(options);
    } catch (const Error& error) {
      give_up(error);
    }
    listener_.reset();
    connected_ = true;
  }

  void allreduce_sum(float* data, size_t n, Wire wire) override {
    run([&] {
      using Kind = Conversation::Kind;
      const bool rounds = wire == Wire::kBf16;
      conversation_->begin(rounds ? Kind::kAllReduceBf16 : Kind::kAllReduce, n * sizeof(float));
      if (is_small(n)) {
        allreduce_by_doubling(*conversation_, *work_, data, n);
      } else {
        // The owner of a finished sum must hold it as the others will.
        reduce({data, data, n,
                [&](size_t begin, size_t count) {
                  if (rounds) round_to_bf16(data + begin, count);
                }},
               wire);
      }
    });
  }

  void reduce_apply_gather(float* data, float* results, size_t n, const Apply& apply) override {
    run([&] {
      conversation_->begin(Conversation::Kind::kReduceApplyGather, n * sizeof(float));
      if (is_small(n)) {
        allreduce_by_doubling(*conversation_, *work_, data, n);
        apply(0, n);
      } else {
        reduce({data, results, n, apply}, Wire::kFloat32);
      }
    });
    if (world() == 1) apply(0, n);
  }

  Part owned(size_t n, int rank) const override {
    if (is_small(n) || world() == 1) return {0, n};
    return prefers_halving(n, world()) ? owned_in_halving(n, rank, world())
                                       : owned_in_ring(*work_, n, rank);
  }

  void broadcast(void* data, size_t bytes, int root) override {
    CAFFE_REQUIRE(root >= 0 && root < world(), "broadcast from rank ", root, " in a group of ",
                  world());
    run([&] {
      conversation_->begin(Conversation::Kind::kBroadcast, bytes, root);
      if (bytes <= kSmallBytes) {
        broadcast_by_tree(*conversation_, *work_, data, bytes, root);
      } else {
        broadcast_by_chain(*conversation_, *work_, data, bytes, root);
      }
    });
  }

  void barrier() override {
    run([&] {
      conversation_->begin(Conversation::Kind::kBarrier, 0);
      barrier_by_dissemination(*conversation_, *work_);
    });
  }

  std::vector<std::string> allgather(const std::string& mine) override {
    std::vector<std::string> all{mine};
    run([&] {
      conversation_->begin(Conversation::Kind::kAllGather, mine.size());
      all = allgather_direct(*conversation_, mine);
    });
    return all;
  }

  void abort(const std::string& reason, ErrorCode code) noexcept override {
    try {
      control_.fail({code, rank_, name() + " aborted: " + reason});
    } catch (const std::exception& error) {
      CAFFE_LOG_WARNING("abort could not be reported: ", error.what());
    }
  }

  CommunicatorStats stats() const override {
    const TransportCounters& counters = transport_.counters();
    CommunicatorStats stats;
    stats.seconds_waited = static_cast<double>(counters.nanoseconds_waited.load()) * 1e-9;
    stats.bytes_sent = counters.bytes_sent.load();
    stats.bytes_received = counters.bytes_received.load();
    stats.operations = operations_.load();
    return stats;
  }

 private:
  // Finds two calls at once, which would mix their bytes.
  class Busy {
   public:
    explicit Busy(Member& member) : member_(member) {
      CAFFE_REQUIRE(!member.busy_.exchange(true, std::memory_order_acquire),
                    "two operations at once on one communicator; call them one after another");
    }
    ~Busy() { member_.busy_.store(false, std::memory_order_release); }

   private:
    Member& member_;
  };

  static bool is_small(size_t n) { return n * sizeof(float) <= kSmallBytes; }

  void reduce(const Reduction& reduction, Wire wire) {
    if (prefers_halving(reduction.n, world())) {
      reduce_by_halving(*conversation_, *work_, reduction, wire);
    } else {
      reduce_by_ring(*conversation_, *work_, reduction, wire);
    }
  }

  std::string name() const { return concat("rank ", rank_, " (", host_part(address_), ")"); }

  void form_group(const ConnectOptions& options) {
    const auto deadline = Clock::now() + options.timeout;
    const bool built_in = named_.name == kBuiltInTransport;
    MeshOptions mesh;
    Wiring wiring;
    CAFFE_REQUIRE(!options.encrypt || built_in, "transport ", named_.name,
                  " does not encrypt what it carries; use ", kBuiltInTransport,
                  " or switch encryption off for the workers");
    std::optional<Tls> tls;
    if (options.encrypt) mesh.tls = &tls.emplace(options.secret, options.epoch);
    const bool shares_memory = options.share_memory && !options.encrypt && built_in;
    const char* more = options.encrypt                     ? " with TLS"
                       : built_in && !options.share_memory ? " without shared memory"
                                                           : "";
    mesh.self = {rank(), world(), options.config_hash, options.epoch, named_.name + more};
    mesh.secret = options.secret;
    mesh.streams_per_peer = transport_.streams_per_peer();
    mesh.deadline = deadline;
    for (int peer = 0; peer < world(); ++peer) {
      const std::string& address = options.addresses[peer];
      mesh.endpoints.push_back(parse_endpoint(host_part(address)));
      mesh.names.push_back(concat("rank ", peer, " (", host_part(address), ")"));
      wiring.addresses.push_back(transport_part(address));
    }
    control_.start({rank(), mesh.names, options.heartbeat_interval, options.silence_limit});
    wiring.rank = rank();
    wiring.world = world();
    wiring.streams = connect_mesh(listener_.get(), mesh, control_);
    wiring.shares_memory = shares_memory;
    wiring.wake = control_.wake();
    wiring.timeout =
        std::max(milliseconds(1), std::chrono::ceil<milliseconds>(deadline - Clock::now()));
    transport_.connect(std::move(wiring));
    conversation_.emplace(transport_, control_,
                          Conversation::Options{rank(), world(), mesh.names, options.timeout});
    work_.emplace();
    std::vector<std::string> hosts;
    for (const std::string& address : options.addresses) {
      hosts.push_back(address.substr(0, host_part(address).rfind(':')));
    }
    order_ring(*work_, hosts, rank());
    conversation_->set_timeout(
        std::max(milliseconds(1), std::chrono::ceil<milliseconds>(deadline - Clock::now())));
    conversation_->begin(Conversation::Kind::kBarrier, 0);
    barrier_by_dissemination(*conversation_, *work_);
    conversation_->finish();
    conversation_->set_timeout(options.collective_timeout);
  }

  // Tells the group, if it does not know yet, and throws the first cause.
  [[noreturn]] void give_up(const Error& error) {
    control_.fail({error.code(), rank(), name() + " failed: " + error.message()});
    control_.throw_if_failed();
    throw error;
  }

  template <typename Operation>
  void run(const Operation& operation) {
    const Busy busy(*this);
    CAFFE_REQUIRE(connected_, "the communicator is not connected; call connect first");
    control_.throw_if_failed();
    operations_.fetch_add(1, std::memory_order_relaxed);
    if (world() == 1) return;
    try {
      operation();
      conversation_->finish();
    } catch (const Error& error) {
      give_up(error);
    } catch (const std::exception& error) {
      give_up(Error(ErrorCode::kInternal, error.what()));
    }
  }

  // Atomic, as abort() may come in the middle of connect().
  std::atomic<int> rank_{0};
  std::atomic<int> world_{1};
  std::string address_;
  Descriptor listener_;
  bool connected_ = false;
  std::atomic<bool> busy_{false};
  std::atomic<uint64_t> operations_{0};
  // The order matters: data connections end after control_.stop() and before control_ itself.
  ControlMesh control_;
  NamedTransport named_;
  Transport& transport_;
  std::optional<Conversation> conversation_;
  std::optional<Workspace> work_;
};

}  // namespace

std::unique_ptr<Communicator> Communicator::listen(const ListenOptions& options) {
  return std::make_unique<Member>(options);
}

}  // namespace caffe

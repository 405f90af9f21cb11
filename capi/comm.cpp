#include "capi/comm.h"

#include <string>
#include <vector>

#include "capi/options.h"
#include "capi/status.h"
#include "collective/communicator.h"
#include "collective/sum_queue.h"

struct caffe_comm {
  std::unique_ptr<caffe::Communicator> group;
  caffe::Wire wire = caffe::Wire::kFloat32;
  caffe::ConnectOptions connect;  // as far as it is known before the group is
};

namespace caffe::capi {

std::unique_ptr<Exchange> make_exchange(caffe_comm& comm) {
  return std::make_unique<GroupExchange<Communicator, SumQueue, Wire>>(*comm.group, comm.wire);
}

}  // namespace caffe::capi

using caffe::capi::given;
using caffe::capi::guarded;
using caffe::capi::Options;

extern "C" {

int caffe_comm_create(const char* options, caffe_comm** comm) {
  return guarded([&] {
    given(comm, "comm");
    const Options parsed("caffe_comm_create", options,
                         {"interface", "transport", "transport_path", "wire", "encrypt",
                          "share_memory", "heartbeat_ms", "silence_ms", "progress_ms"});
    auto created = std::make_unique<caffe_comm>();
    const std::string wire = parsed.text("wire", "float32");
    CAFFE_REQUIRE(wire == "float32" || wire == "bf16", "caffe_comm_create: option 'wire' is '",
                  wire, "'; use float32 or bf16");
    if (wire == "bf16") created->wire = caffe::Wire::kBf16;
    created->connect.encrypt = parsed.flag("encrypt");
    created->connect.share_memory = parsed.flag("share_memory", true);
    const auto limit = [&](const char* key, std::chrono::milliseconds& value) {
      value = std::chrono::milliseconds(parsed.integer(key, value.count(), 1));
    };
    limit("heartbeat_ms", created->connect.heartbeat_interval);
    limit("silence_ms", created->connect.silence_limit);
    limit("progress_ms", created->connect.collective_timeout);
    created->group = caffe::Communicator::listen(
        {parsed.text("interface"), parsed.text("transport", "tcp"), parsed.text("transport_path")});
    *comm = created.release();
  });
}

const char* caffe_comm_address(const caffe_comm* comm) {
  return comm ? comm->group->address().c_str() : nullptr;
}

int caffe_comm_connect(caffe_comm* comm, int rank, int world, const char* const* addresses,
                       const uint8_t* secret, size_t secret_size, const char* epoch,
                       uint64_t config_hash, int64_t timeout_ms) {
  return guarded([&] {
    given(comm, "comm"), given(addresses, "addresses"), given(secret, "secret");
    CAFFE_REQUIRE(world >= 1 && rank >= 0 && rank < world, "there is no rank ", rank, " among ",
                  world, " workers");
    CAFFE_REQUIRE(timeout_ms > 0, "a timeout of ", timeout_ms, " ms leaves no time to connect");
    caffe::ConnectOptions options = comm->connect;
    options.rank = rank;
    options.world = world;
    for (int i = 0; i < world; ++i)
      options.addresses.emplace_back(given(addresses[i], "an address"));
    options.secret.assign(reinterpret_cast<const char*>(secret), secret_size);
    options.epoch = given(epoch, "epoch");
    options.config_hash = config_hash;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    comm->group->connect(options);
  });
}

void caffe_comm_abort(caffe_comm* comm, const char* reason) {
  if (comm == nullptr) return;
  guarded([&] { comm->group->abort(reason ? reason : "the group was aborted"); });
}

void caffe_comm_free(caffe_comm* comm) { delete comm; }

}  // extern "C"

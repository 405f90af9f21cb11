#include "capi/comm.h"

#include <string>
#include <vector>

#include "capi/status.h"
#include "collective/communicator.h"

struct caffe_comm {
  std::unique_ptr<caffe::Communicator> group;
};

namespace caffe::capi {

std::unique_ptr<Exchange> make_exchange(caffe_comm& comm) {
  return std::make_unique<GroupExchange<Communicator>>(*comm.group);
}

}  // namespace caffe::capi

using caffe::capi::given;
using caffe::capi::guarded;

extern "C" {

int caffe_comm_create(const char* interface, caffe_comm** comm) {
  return guarded([&] {
    given(comm, "comm");
    caffe::ListenOptions options;
    options.interface = interface ? interface : "";
    *comm = new caffe_comm{caffe::Communicator::listen(options)};
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
    caffe::ConnectOptions options;
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

#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace caffe {

inline const std::string kSecret = "0123456789abcdef0123456789abcdef";

// Options that end a broken test within seconds.
inline ConnectOptions test_options(int rank, int world) {
  ConnectOptions options;
  options.rank = rank;
  options.world = world;
  options.secret = kSecret;
  options.epoch = "attempt 1";
  options.timeout = std::chrono::seconds(20);
  options.collective_timeout = std::chrono::seconds(60);
  return options;
}

struct GroupSetup {
  ListenOptions listen{"127.0.0.1", "tcp"};
  std::function<void(ConnectOptions&)> change = [](ConnectOptions&) {};
};

// Runs `body` on `world` ranks, one thread each, and returns what each threw ("" for nothing).
inline std::vector<std::string> run_group(int world, const std::function<void(Communicator&)>& body,
                                          const GroupSetup& setup = {}) {
  std::vector<std::unique_ptr<Communicator>> group;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < world; ++rank) {
    group.push_back(Communicator::listen(setup.listen));
    addresses.push_back(group.back()->address());
  }
  std::vector<std::future<std::string>> ends;
  for (int rank = 0; rank < world; ++rank) {
    ends.push_back(std::async(std::launch::async, [&, rank]() -> std::string {
      const std::unique_ptr<Communicator> own = std::move(group[rank]);
      ConnectOptions options = test_options(rank, world);
      options.addresses = addresses;
      setup.change(options);
      try {
        own->connect(options);
        body(*own);
      } catch (const Error& error) {
        return error.message();
      }
      return "";
    }));
  }
  std::vector<std::string> errors;
  for (auto& end : ends) errors.push_back(end.get());
  return errors;
}

}  // namespace caffe

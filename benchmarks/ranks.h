#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace caffe::bench {

// From here on sockets of this process are made in a network namespace of `ip netns`.
inline void enter_namespace(const std::string& name) {
  const std::string path = "/var/run/netns/" + name;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  CAFFE_REQUIRE(fd >= 0 && setns(fd, CLONE_NEWNET) == 0, "cannot enter network namespace ", name);
  close(fd);
}

struct Group {
  int world = 2;
  std::string netns;  // rank r lives in the namespace netns + r; "": all in this one, on loopback
  std::string interface = "127.0.0.1";
  bool share_memory = true;
};

// Runs `body` in `world` processes, connected with each other. Returns the worst exit code.
inline int run_ranks(const Group& group, const std::function<void(Communicator&)>& body) {
  // All listen before the processes part, so that addresses need not be gathered. A socket stays in
  // the namespace it was made in.
  std::vector<std::unique_ptr<Communicator>> ranks;
  ConnectOptions options;
  options.world = group.world;
  options.share_memory = group.share_memory;
  options.secret = "0123456789abcdef";
  for (int rank = 0; rank < group.world; ++rank) {
    if (!group.netns.empty()) enter_namespace(group.netns + std::to_string(rank));
    ranks.push_back(Communicator::listen({group.interface, "tcp"}));
    options.addresses.push_back(ranks.back()->address());
  }
  const auto run = [&](int rank) {
    try {
      if (!group.netns.empty()) enter_namespace(group.netns + std::to_string(rank));
      options.rank = rank;
      ranks[rank]->connect(options);
      body(*ranks[rank]);
      ranks[rank]->barrier();
      ranks[rank].reset();  // takes leave: others may be in the barrier yet
      return 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
      return 1;
    }
  };
  std::vector<pid_t> children;
  for (int rank = 1; rank < group.world; ++rank) {
    const pid_t child = fork();
    if (child == 0) _exit(run(rank));
    children.push_back(child);
  }
  int worst = run(0);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    worst = std::max(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  return worst;
}

}  // namespace caffe::bench

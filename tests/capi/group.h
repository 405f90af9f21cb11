#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "capi/handles.h"

namespace caffe::testing {

// One rank of a group of processes, as its process sees it.
struct Rank {
  int rank = 0;
  int world = 1;
  std::string options;  // for caffe_solver_create
  CommHandle connect(uint64_t config_hash) const { return connect_with(config_hash, ""); }
  // `options`: for caffe_comm_create, beside the interface.
  std::function<CommHandle(uint64_t config_hash, const std::string& options)> connect_with;
};

namespace processes {

inline void write_all(int fd, const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof(size));
  bytes += text;
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("the other process is gone");
    done += static_cast<size_t>(n);
  }
}

inline std::string read_exactly(int fd, size_t size) {
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    pollfd wait{fd, POLLIN, 0};
    if (::poll(&wait, 1, 120'000) <= 0) throw std::runtime_error("the other process is silent");
    const ssize_t n = ::read(fd, bytes.data() + done, size - done);
    if (n <= 0) throw std::runtime_error("the other process is gone");
    done += static_cast<size_t>(n);
  }
  return bytes;
}

inline std::string read_text(int fd) {
  const std::string size = read_exactly(fd, sizeof(uint32_t));
  return read_exactly(fd, *reinterpret_cast<const uint32_t*>(size.data()));
}

inline CommHandle connect(int fd, int rank, int world, uint64_t config_hash,
                          const std::string& options) {
  caffe_comm* raw = nullptr;
  must(caffe_comm_create(("interface=127.0.0.1\n" + options).c_str(), &raw));
  CommHandle comm(raw);
  write_all(fd, caffe_comm_address(raw));
  std::vector<std::string> addresses;
  std::vector<const char*> pointers;
  for (int i = 0; i < world; ++i) addresses.push_back(read_text(fd));
  for (const std::string& address : addresses) pointers.push_back(address.c_str());
  const std::string secret = "0123456789abcdef0123456789abcdef";
  must(caffe_comm_connect(raw, rank, world, pointers.data(),
                          reinterpret_cast<const uint8_t*>(secret.data()), secret.size(),
                          "attempt 1", config_hash, 60'000));
  return comm;
}

// What a process ends with: "" or its error.
inline std::string run_rank(const std::function<void(const Rank&)>& body, int fd, int rank,
                            int world) {
  Rank self;
  self.rank = rank;
  self.world = world;
  self.options =
      "threads=1\nrank=" + std::to_string(rank) + "\nworld=" + std::to_string(world) + "\n";
  self.connect_with = [=](uint64_t config_hash, const std::string& options) {
    return connect(fd, rank, world, config_hash, options);
  };
  try {
    body(self);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace processes

// The group of the rank's process, which the solver works with from now on.
inline CommHandle join(const Rank& rank, caffe_solver* solver) {
  CommHandle comm = rank.connect(caffe_solver_config_hash(solver));
  must(caffe_solver_set_comm(solver, comm.get()));
  return comm;
}

// Runs `body` in `world` processes that find each other over TCP; each may connect once. Gives what
// each ended with: "" or its error. A process that is silent for two minutes is ended.
inline std::vector<std::string> run_processes(int world,
                                              const std::function<void(const Rank&)>& body) {
  std::vector<int> channels;
  std::vector<pid_t> children;
  for (int rank = 0; rank < world; ++rank) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
      throw std::runtime_error("socketpair failed");
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(pair[0]);
      for (const int channel : channels) ::close(channel);
      processes::write_all(pair[1], "end:" + processes::run_rank(body, pair[1], rank, world));
      ::_exit(0);
    }
    ::close(pair[1]);
    channels.push_back(pair[0]);
    children.push_back(child);
  }
  std::vector<std::string> ends(static_cast<size_t>(world));
  try {
    std::vector<std::string> addresses;
    for (size_t i = 0; i < ends.size(); ++i) {
      addresses.push_back(processes::read_text(channels[i]));
      const bool ended = addresses.back().rfind("end:", 0) == 0;
      if (ended)
        throw std::runtime_error("rank " + std::to_string(i) +
                                 " did not connect: " + addresses.back().substr(4));
    }
    for (const int channel : channels) {
      for (const std::string& address : addresses) processes::write_all(channel, address);
    }
    for (size_t i = 0; i < ends.size(); ++i) ends[i] = processes::read_text(channels[i]).substr(4);
  } catch (const std::exception& error) {
    for (const pid_t child : children) ::kill(child, SIGKILL);
    ends[0] += error.what();
  }
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  for (const int channel : channels) ::close(channel);
  return ends;
}

}  // namespace caffe::testing

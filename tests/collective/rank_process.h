#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "collective/group.h"
#include "collective/socket.h"

namespace caffe {

// A rank_process: started here, killed and waited for at the end.
class RankProcess {
 public:
  // `prefix`: words in front of the command, such as "ip netns exec NAME". `more`: after it.
  explicit RankProcess(const std::string& interface = "127.0.0.1",
                       const std::vector<std::string>& prefix = {},
                       const std::vector<std::string>& more = {});
  static RankProcess with_transport(const std::string& name, const std::string& path) {
    return RankProcess("127.0.0.1", {}, {name, path});
  }
  RankProcess(RankProcess&& other) noexcept;
  RankProcess(const RankProcess&) = delete;
  ~RankProcess();

  const std::string& address() const { return address_; }
  void tell(const std::string& line);
  // The next line it prints; "" if none comes in time, "<ended>" at the end of its output.
  std::string hear(std::chrono::milliseconds limit = std::chrono::seconds(30));
  void signal(int number);
  // Whether it still answers.
  bool alive();

 private:
  pid_t pid_ = -1;
  Descriptor in_;
  Descriptor out_;
  std::string buffer_;
  std::string address_;
};

// The line that makes a process connect.
std::string connect_line(const ConnectOptions& options);

// `world` processes, told to connect with test_options as `change` leaves them.
class ProcessGroup {
 public:
  using Change = std::function<void(ConnectOptions&)>;
  explicit ProcessGroup(int world) : ProcessGroup(std::vector<RankProcess>(world_of(world))) {}
  explicit ProcessGroup(std::vector<RankProcess> ranks) : ranks_(std::move(ranks)) {}

  int size() const { return static_cast<int>(ranks_.size()); }
  RankProcess& operator[](int rank) { return ranks_[rank]; }
  // "rank 1 (127.0.0.1:4711)"
  std::string name(int rank) const;
  void tell_connect(const Change& change = [](ConnectOptions&) {});
  // Whether all are connected.
  bool connect(const Change& change = [](ConnectOptions&) {});
  // All begin to reduce; returns when the first operation has ended everywhere.
  bool loop(size_t bytes);

 private:
  static std::vector<RankProcess> world_of(int world);
  std::vector<RankProcess> ranks_;
};

}  // namespace caffe

// One rank of a group in a process of its own, driven line by line over standard input and output:
// what the tests of failures start, stop and kill.
//   rank_process INTERFACE [TRANSPORT PATH]       prints "ADDRESS <address>"
//   connect RANK WORLD SECRET EPOCH HASH TIMEOUT COLLECTIVE_TIMEOUT HEARTBEAT SILENCE SHARE_MEMORY
//           ADDRESS...
//                                prints "CONNECTED" (times in ms)
//   loop BYTES                   all-reduces in a thread until an error; prints "LOOPING" at first
//   barrier | reduce N           prints "DONE"; reduce checks the sums
//   abort REASON | cancel REASON
//   leave                        destroys the communicator; prints "LEFT"
//   ping                         prints "PONG"
// An error is printed as "ERROR <code> <message>".
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "collective/communicator.h"
#include "core/log.h"

namespace {

using caffe::Communicator;

void say(const std::string& line) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::cout << line << std::endl;
}

template <typename Action>
void attempt(const Action& action, const std::string& success) {
  try {
    action();
    if (!success.empty()) say(success);
  } catch (const caffe::Error& error) {
    say("ERROR " + std::to_string(static_cast<int>(error.code())) + " " + error.message());
  }
}

caffe::ConnectOptions read_options(std::istringstream& words) {
  caffe::ConnectOptions options;
  int64_t timeout = 0, collective_timeout = 0, heartbeat = 0, silence = 0;
  words >> options.rank >> options.world >> options.secret >> options.epoch >>
      options.config_hash >> timeout >> collective_timeout >> heartbeat >> silence >>
      options.share_memory;
  options.timeout = std::chrono::milliseconds(timeout);
  options.collective_timeout = std::chrono::milliseconds(collective_timeout);
  options.heartbeat_interval = std::chrono::milliseconds(heartbeat);
  options.silence_limit = std::chrono::milliseconds(silence);
  for (std::string address; words >> address;) options.addresses.push_back(address);
  return options;
}

void loop(Communicator& group, size_t bytes) {
  std::vector<float> data(bytes / sizeof(float), 1.0F);
  attempt(
      [&] {
        for (bool first = true;; first = false) {
          group.allreduce_sum(data.data(), data.size());
          if (first) say("LOOPING");
        }
      },
      "");
}

// Small whole numbers, whose sums are exact.
void reduce(Communicator& group, size_t n) {
  std::vector<float> data(n);
  for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>((group.rank() + 1) * (i % 11));
  group.allreduce_sum(data.data(), n);
  const auto total = static_cast<size_t>(group.world() * (group.world() + 1) / 2);
  for (size_t i = 0; i < n; ++i) {
    CAFFE_REQUIRE(data[i] == static_cast<float>(total * (i % 11)), "element ", i, " of ", n, " is ",
                  data[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<Communicator> group;
  attempt(
      [&] {
        const auto word = [&](int i, const char* otherwise) {
          return argc > i ? argv[i] : otherwise;
        };
        group = Communicator::listen({word(1, ""), word(2, "tcp"), word(3, "")});
        say("ADDRESS " + group->address());
      },
      "");
  std::thread worker;
  for (std::string line; group && std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "connect") {
      attempt([&] { group->connect(read_options(words)); }, "CONNECTED");
    } else if (command == "loop") {
      size_t bytes = 0;
      words >> bytes;
      worker = std::thread([&group, bytes] { loop(*group, bytes); });
    } else if (command == "barrier") {
      if (worker.joinable()) worker.join();
      attempt([&] { group->barrier(); }, "DONE");
    } else if (command == "reduce") {
      size_t n = 0;
      words >> n;
      attempt([&] { reduce(*group, n); }, "DONE");
    } else if (command == "abort") {
      group->abort(line.substr(6));
    } else if (command == "cancel") {
      group->abort(line.substr(7), caffe::ErrorCode::kCancelled);
    } else if (command == "leave") {
      group.reset();
      say("LEFT");
    } else if (command == "ping") {
      say("PONG");
    }
  }
  if (group) group->abort("the test is over");
  if (worker.joinable()) worker.join();
  return 0;
}

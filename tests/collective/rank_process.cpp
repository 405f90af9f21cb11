#include "collective/rank_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace caffe {

using Clock = std::chrono::steady_clock;

RankProcess::RankProcess(const std::string& interface, const std::vector<std::string>& prefix,
                         const std::vector<std::string>& more) {
  std::vector<std::string> words = prefix;
  words.push_back(CAFFE_RANK_PROCESS);
  words.push_back(interface);
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int in[2], out[2];
  CAFFE_REQUIRE(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "no pipes");
  pid_ = fork();
  CAFFE_REQUIRE(pid_ >= 0, "cannot fork");
  if (pid_ == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  in_ = Descriptor(in[1]);
  out_ = Descriptor(out[0]);
  const std::string line = hear();
  CAFFE_REQUIRE(line.rfind("ADDRESS ", 0) == 0, "rank_process said: ", line);
  address_ = line.substr(8);
}

RankProcess::RankProcess(RankProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      buffer_(std::move(other.buffer_)),
      address_(std::move(other.address_)) {}

RankProcess::~RankProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void RankProcess::tell(const std::string& line) {
  const std::string text = line + "\n";
  // A process that was killed does not read; SIGPIPE must not end the tests.
  ::signal(SIGPIPE, SIG_IGN);
  [[maybe_unused]] const ssize_t written = write(in_.get(), text.data(), text.size());
}

std::string RankProcess::hear(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd readable{out_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) == 0) return "";
    char chunk[4096];
    const ssize_t got = read(out_.get(), chunk, sizeof(chunk));
    if (got <= 0) return "<ended>";
    buffer_.append(chunk, got);
  }
}

void RankProcess::signal(int number) { kill(pid_, number); }

bool RankProcess::alive() {
  tell("ping");
  return hear() == "PONG";
}

std::string connect_line(const ConnectOptions& options) {
  std::string line =
      concat("connect ", options.rank, " ", options.world, " ", options.secret, " ", options.epoch,
             " ", options.config_hash, " ", options.timeout.count(), " ",
             options.collective_timeout.count(), " ", options.heartbeat_interval.count(), " ",
             options.silence_limit.count(), " ", options.share_memory);
  for (const std::string& address : options.addresses) line += " " + address;
  return line;
}

std::vector<RankProcess> ProcessGroup::world_of(int world) {
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < world; ++rank) ranks.emplace_back();
  return ranks;
}

std::string ProcessGroup::name(int rank) const {
  return concat("rank ", rank, " (", ranks_[rank].address(), ")");
}

void ProcessGroup::tell_connect(const Change& change) {
  for (int rank = 0; rank < size(); ++rank) {
    ConnectOptions options = test_options(rank, size());
    options.epoch = "attempt-1";
    for (const RankProcess& process : ranks_) options.addresses.push_back(process.address());
    change(options);
    ranks_[rank].tell(connect_line(options));
  }
}

bool ProcessGroup::connect(const Change& change) {
  tell_connect(change);
  bool all = true;
  for (RankProcess& process : ranks_) all &= process.hear() == "CONNECTED";
  return all;
}

bool ProcessGroup::loop(size_t bytes) {
  for (RankProcess& process : ranks_) process.tell(concat("loop ", bytes));
  bool all = true;
  for (RankProcess& process : ranks_) all &= process.hear() == "LOOPING";
  return all;
}

}  // namespace caffe

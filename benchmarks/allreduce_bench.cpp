// Times Communicator::allreduce_sum between processes of this machine.
//   allreduce_bench [WORLD [INTERFACE]]      (default: 2 ranks on 127.0.0.1)
// Prints one JSON line per size: median and best of the slowest rank's times, and the bus bandwidth
// bytes * 2 (N-1)/N / median, next to what memcpy and a += b move on one core.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace {

using caffe::Communicator;
using Clock = std::chrono::steady_clock;

constexpr int kMaxWorld = 64;
constexpr int kAddressBytes = 128;

struct Problem {
  const char* name;
  size_t bytes;
  int repeats;
};
constexpr Problem kProblems[] = {{"4KB", 4096, 2000},
                                 {"1.7MB", 1'724'320, 200},
                                 {"5MB", 5'000'000, 100},
                                 {"100MB", 100'000'000, 15}};

// The processes' addresses, in memory they share.
struct Board {
  char address[kMaxWorld][kAddressBytes];
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void print_memory_speed() {
  std::vector<float> a(25'000'000, 1.0F), b(25'000'000, 2.0F);
  double copy = 1e9, sum = 1e9;
  for (int round = 0; round < 5; ++round) {
    auto start = Clock::now();
    std::memcpy(a.data(), b.data(), a.size() * sizeof(float));
    copy = std::min(copy, seconds_since(start));
    start = Clock::now();
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    sum = std::min(sum, seconds_since(start));
  }
  const double bytes = static_cast<double>(a.size()) * sizeof(float);
  std::printf("{\"memcpy_GB_per_s\": %.2f, \"add_GB_per_s\": %.2f, \"check\": %.0f}\n",
              bytes / copy / 1e9, bytes / sum / 1e9, a[7]);
  std::fflush(stdout);
}

void time_problem(Communicator& group, const Problem& problem) {
  const size_t n = problem.bytes / sizeof(float);
  std::vector<float> data(n);
  std::vector<double> times;
  const float total = static_cast<float>(group.world() * (group.world() + 1)) / 2;
  for (int repeat = -2; repeat < problem.repeats; ++repeat) {
    std::fill(data.begin(), data.end(), static_cast<float>(group.rank() + 1));
    group.barrier();
    const auto start = Clock::now();
    group.allreduce_sum(data.data(), n);
    const double mine = seconds_since(start);
    for (const float value : data) {
      if (value != total) throw caffe::Error(caffe::ErrorCode::kInternal, "wrong sum");
    }
    double slowest = 0;
    for (const std::string& bytes : group.allgather(std::to_string(mine))) {
      slowest = std::max(slowest, std::stod(bytes));
    }
    if (repeat >= 0) times.push_back(slowest);
  }
  if (group.rank() != 0) return;
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double bus = static_cast<double>(problem.bytes) * 2 * (group.world() - 1) / group.world();
  std::printf(
      "{\"ranks\": %d, \"size\": \"%s\", \"median_ms\": %.4f, \"best_ms\": %.4f, "
      "\"bus_MB_per_s\": %.1f}\n",
      group.world(), problem.name, median * 1e3, times[0] * 1e3, bus / median / 1e6);
  std::fflush(stdout);
}

int run_rank(Communicator& group, int rank, int world, const Board& board) {
  try {
    caffe::ConnectOptions options;
    options.rank = rank;
    options.world = world;
    options.secret = "0123456789abcdef";
    for (int peer = 0; peer < world; ++peer) options.addresses.push_back(board.address[peer]);
    group.connect(options);
    for (const Problem& problem : kProblems) time_problem(group, problem);
    return 0;
  } catch (const caffe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int world = argc > 1 ? std::atoi(argv[1]) : 2;
  if (world < 1 || world > kMaxWorld) {
    std::fprintf(stderr, "usage: allreduce_bench [WORLD (1..%d) [INTERFACE]]\n", kMaxWorld);
    return 2;
  }
  print_memory_speed();
  // The addresses are known before the processes part, so they need not be gathered.
  Board board{};
  std::vector<std::unique_ptr<Communicator>> group;
  for (int rank = 0; rank < world; ++rank) {
    group.push_back(Communicator::listen({argc > 2 ? argv[2] : "127.0.0.1", "tcp"}));
    std::snprintf(board.address[rank], kAddressBytes, "%s", group.back()->address().c_str());
  }
  std::vector<pid_t> children;
  for (int rank = 1; rank < world; ++rank) {
    const pid_t child = fork();
    if (child == 0) _exit(run_rank(*group[rank], rank, world, board));
    children.push_back(child);
  }
  int worst = run_rank(*group[0], 0, world, board);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    worst = std::max(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  return worst;
}

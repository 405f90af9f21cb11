// Times Communicator::allreduce_sum between processes, on loopback or each in a network namespace.
//   comm_bench WORLD [-netns PREFIX] [-interface I] [-memory shared|own] [-wire float32|bf16]
//              [SIZE...]
// SIZE in bytes. Prints one JSON line per size: median and best of the slowest rank's times, and
// the bus bandwidth, bytes * 2 (N-1)/N / median, in bytes of float32.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "benchmarks/ranks.h"

namespace {

using caffe::Communicator;
using caffe::Wire;
using Clock = std::chrono::steady_clock;

struct Settings {
  caffe::bench::Group group;
  Wire wire = Wire::kFloat32;
  std::vector<size_t> sizes;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double slowest(Communicator& group, double mine) {
  double worst = 0;
  for (const std::string& bytes : group.allgather(std::to_string(mine))) {
    worst = std::max(worst, std::stod(bytes));
  }
  return worst;
}

void time_size(Communicator& group, size_t bytes, Wire wire) {
  const size_t n = bytes / sizeof(float);
  std::vector<float> data(n);
  std::vector<double> times;
  // Powers of two, so that bf16 sums are exact.
  const auto total = static_cast<float>((1 << group.world()) - 1);
  double spent = 0;
  for (int repeat = -2; repeat < 500 && (repeat < 5 || spent < 4); ++repeat) {
    std::fill(data.begin(), data.end(), static_cast<float>(1 << group.rank()));
    group.barrier();
    const auto start = Clock::now();
    group.allreduce_sum(data.data(), n, wire);
    const double time = slowest(group, seconds_since(start));
    for (const float value : data) {
      CAFFE_REQUIRE(value == total, "wrong sum: ", value, " instead of ", total);
    }
    spent += time;
    if (repeat >= 0) times.push_back(time);
  }
  if (group.rank() != 0) return;
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double bus = static_cast<double>(bytes) * 2 * (group.world() - 1) / group.world();
  std::printf(
      "{\"ranks\": %d, \"wire\": \"%s\", \"bytes\": %zu, \"repeats\": %zu, \"median_ms\": %.4f, "
      "\"best_ms\": %.4f, \"bus_MB_per_s\": %.1f}\n",
      group.world(), wire == Wire::kBf16 ? "bf16" : "float32", bytes, times.size(), median * 1e3,
      times[0] * 1e3, bus / median / 1e6);
  std::fflush(stdout);
}

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool flag = word[0] == '-';
    CAFFE_REQUIRE(!flag || i + 1 < argc, word, " needs a value");
    if (word == "-netns") {
      settings.group.netns = argv[++i];
      settings.group.interface = "";
    } else if (word == "-interface") {
      settings.group.interface = argv[++i];
    } else if (word == "-memory") {
      settings.group.share_memory = std::strcmp(argv[++i], "own") != 0;
    } else if (word == "-wire") {
      settings.wire = std::strcmp(argv[++i], "bf16") == 0 ? Wire::kBf16 : Wire::kFloat32;
    } else if (i == 1) {
      settings.group.world = std::atoi(argv[i]);
    } else {
      settings.sizes.push_back(std::strtoull(argv[i], nullptr, 10));
    }
  }
  CAFFE_REQUIRE(
      settings.group.world >= 1 && settings.group.world <= 16,
      "usage: comm_bench WORLD (1..16) [-netns PREFIX] [-interface I] [-memory shared|own] "
      "[-wire W] [SIZE...]");
  if (settings.sizes.empty()) settings.sizes = {4096, 1'724'320, 5'000'000, 102'000'000};
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Settings settings = parse(argc, argv);
    return caffe::bench::run_ranks(settings.group, [&](Communicator& group) {
      for (const size_t bytes : settings.sizes) time_size(group, bytes, settings.wire);
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "comm_bench: %s\n", error.what());
    return 2;
  }
}

// What comm_bench times, done by Gloo's ring: gloo_bench WORLD [-netns PREFIX] [SIZE...]
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "benchmarks/ranks.h"

namespace {

using caffe::Communicator;
using Clock = std::chrono::steady_clock;

// Gloo writes one key per rank, then reads those of the others.
class GatheringStore : public gloo::rendezvous::Store {
 public:
  explicit GatheringStore(Communicator& group) : group_(group) {}
  void set(const std::string& key, const std::vector<char>& data) override {
    for (const std::string& item :
         group_.allgather(key + '\0' + std::string(data.begin(), data.end()))) {
      const size_t end = item.find('\0');
      values_[item.substr(0, end)].assign(item.begin() + static_cast<long>(end) + 1, item.end());
    }
  }
  std::vector<char> get(const std::string& key) override { return values_.at(key); }
  void wait(const std::vector<std::string>&) override {}
  void wait(const std::vector<std::string>&, const std::chrono::milliseconds&) override {}

 private:
  Communicator& group_;
  std::map<std::string, std::vector<char>> values_;
};

void time_size(Communicator& group, const std::shared_ptr<gloo::Context>& context, size_t bytes) {
  const size_t n = bytes / sizeof(float);
  std::vector<float> data(n);
  std::vector<double> times;
  double spent = 0;
  for (int repeat = -2; repeat < 500 && (repeat < 5 || spent < 4); ++repeat) {
    std::fill(data.begin(), data.end(), 1.0f);
    group.barrier();
    const auto start = Clock::now();
    gloo::AllreduceOptions options(context);
    options.setOutput(data.data(), n);
    options.setReduceFunction(
        static_cast<void (*)(void*, const void*, const void*, size_t)>(&gloo::sum<float>));
    options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
    gloo::allreduce(options);
    const double mine = std::chrono::duration<double>(Clock::now() - start).count();
    double time = 0;
    for (const std::string& text : group.allgather(std::to_string(mine))) {
      time = std::max(time, std::stod(text));
    }
    CAFFE_REQUIRE(data.front() == static_cast<float>(group.world()), "wrong sum");
    spent += time;
    if (repeat >= 0) times.push_back(time);
  }
  if (group.rank() != 0) return;
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double bus = static_cast<double>(bytes) * 2 * (group.world() - 1) / group.world();
  std::printf(
      "{\"ranks\": %d, \"wire\": \"gloo\", \"bytes\": %zu, \"repeats\": %zu, \"median_ms\": %.4f, "
      "\"best_ms\": %.4f, \"bus_MB_per_s\": %.1f}\n",
      group.world(), bytes, times.size(), median * 1e3, times[0] * 1e3, bus / median / 1e6);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  caffe::bench::Group group;
  std::vector<size_t> sizes;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "-netns" && i + 1 < argc) {
      group.netns = argv[++i];
      group.interface = "";
    } else if (i == 1) {
      group.world = std::atoi(argv[i]);
    } else {
      sizes.push_back(std::strtoull(argv[i], nullptr, 10));
    }
  }
  if (sizes.empty()) sizes = {4096, 1'724'320, 5'000'000, 102'000'000};
  try {
    return caffe::bench::run_ranks(group, [&](Communicator& ranks) {
      gloo::transport::tcp::attr attributes;
      if (group.netns.empty()) {
        attributes.hostname = "127.0.0.1";
      } else {
        attributes.iface = "eth0";
      }
      auto device = gloo::transport::tcp::CreateDevice(attributes);
      auto context = std::make_shared<gloo::rendezvous::Context>(ranks.rank(), ranks.world());
      GatheringStore store(ranks);
      context->connectFullMesh(store, device);
      for (const size_t bytes : sizes) time_size(ranks, context, bytes);
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gloo_bench: %s\n", error.what());
    return 2;
  }
}

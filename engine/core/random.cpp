#include "core/random.h"

#include <mutex>
#include <optional>
#include <random>

namespace caffe {
namespace {

std::mutex mutex;
std::optional<uint64_t> configured;

}  // namespace

void set_default_seed(uint64_t seed) {
  std::lock_guard<std::mutex> lock(mutex);
  configured = seed;
}

uint64_t default_seed() {
  std::lock_guard<std::mutex> lock(mutex);
  return configured ? *configured : std::random_device{}();
}

}  // namespace caffe

#include "core/memory.h"

#include <algorithm>
#include <fstream>

#include "core/error.h"

namespace caffe {
namespace {

constexpr int64_t kUnknown = INT64_MAX;

// A file that holds one number; kUnknown if there is none ("max").
int64_t number_in(const std::string& path) {
  int64_t value = 0;
  return std::ifstream(path) >> value ? value : kUnknown;
}

// The number after a word of a file; 0 if it is not there.
int64_t number_after(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string found; file >> found;) {
    int64_t value = 0;
    if (found == word) return file >> value ? value : 0;
  }
  return 0;
}

int64_t left_by_system() {
  const int64_t kib = number_after("/proc/meminfo", "MemAvailable:");
  return kib == 0 ? kUnknown : 1024 * (kib + number_after("/proc/meminfo", "SwapFree:"));
}

// Pages of files that were read count as used, but are given up first.
int64_t left_by_group(const std::string& limit, const std::string& used, const std::string& stat,
                      const std::string& cache) {
  const int64_t most = number_in(limit), now = number_in(used);
  return most == kUnknown || now == kUnknown ? kUnknown : most - now + number_after(stat, cache);
}

}  // namespace

int64_t available_memory() {
  const std::string v2 = "/sys/fs/cgroup/", v1 = "/sys/fs/cgroup/memory/";
  return std::min(
      {left_by_system(),
       left_by_group(v2 + "memory.max", v2 + "memory.current", v2 + "memory.stat", "inactive_file"),
       left_by_group(v1 + "memory.limit_in_bytes", v1 + "memory.usage_in_bytes", v1 + "memory.stat",
                     "total_inactive_file")});
}

void require_countable(const Shape& shape, const std::string& what) {
  int64_t bytes = sizeof(double);
  for (const int64_t extent : shape.dims()) {
    if (extent == 0) return;
  }
  std::string text;
  for (const int64_t extent : shape.dims()) text += std::to_string(extent) + " ";
  for (const int64_t extent : shape.dims()) {
    CAFFE_REQUIRE(extent > 0 && !__builtin_mul_overflow(bytes, extent, &bytes), what,
                  " cannot have the shape ", text, "(too many values)");
  }
}

void require_memory(int64_t bytes, const std::string& what) {
  const int64_t available = available_memory();
  constexpr double kMebibyte = 1 << 20;
  CAFFE_REQUIRE(bytes <= available, what, " needs ",
                static_cast<int64_t>(static_cast<double>(bytes) / kMebibyte),
                " MiB of memory, and ",
                static_cast<int64_t>(static_cast<double>(available) / kMebibyte),
                " MiB are free; use a smaller batch size or net, or more memory");
}

}  // namespace caffe

#include "core/pages.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

#include "core/memory.h"

#ifndef MADV_POPULATE_WRITE  // Linux 5.14
#define MADV_POPULATE_WRITE 23
#endif

namespace caffe {
namespace {

constexpr size_t kSmallPage = 4096;
// Less memory is used up sooner than large pages, which may be slow to come, have paid for
// themselves.
constexpr size_t kWorthLargePages = 16 * kLargePage;

// Of this thread: others that want the processor do not count.
double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

void* map_pages(size_t bytes) {
  const size_t wanted = round_up(bytes, kSmallPage);
  void* memory = mmap(nullptr, wanted + kLargePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* address = static_cast<std::byte*>(memory);
  const size_t before = round_up(reinterpret_cast<uintptr_t>(address), kLargePage) -
                        reinterpret_cast<uintptr_t>(address);
  if (before > 0) munmap(address, before);
  if (before < kLargePage) munmap(address + before + wanted, kLargePage - before);
  if (bytes >= kWorthLargePages)
    madvise(address + before, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
  return address + before;
}

void unmap_pages(void* memory, size_t bytes) { munmap(memory, round_up(bytes, kSmallPage)); }

void take_pages(void* memory, size_t bytes, double patience) {
  auto* const begin = static_cast<std::byte*>(memory);
  std::byte* const end = begin + bytes;
  for (std::byte* page = begin; page < end; page += kLargePage) {
    const double start = processor_seconds();
    const size_t length = std::min(kLargePage, static_cast<size_t>(end - page));
    if (madvise(page, length, MADV_POPULATE_WRITE) != 0) return;  // then when it is touched
    if (processor_seconds() - start < patience) continue;
    const size_t rest = static_cast<size_t>(end - page);
    madvise(page, rest, MADV_NOHUGEPAGE);
    madvise(page, rest, MADV_POPULATE_WRITE);
    madvise(page, rest / kLargePage * kLargePage, MADV_HUGEPAGE);
    return;
  }
}

}  // namespace caffe

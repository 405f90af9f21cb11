#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "collective/group.h"
#include "collective/sum_queue.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAFFE_OWN_ALLOCATOR 0  // sanitizers have one
#else
#define CAFFE_OWN_ALLOCATOR 1
#endif

namespace {

// Counts the allocations of all threads of this program while armed.
std::atomic<bool> armed{false};
std::atomic<int> allocations{0};

[[maybe_unused]] void* allocate(size_t bytes) {
  if (armed) ++allocations;
  void* memory = std::malloc(bytes ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

#if CAFFE_OWN_ALLOCATOR
void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace caffe {
namespace {

using testing::Each;
using testing::IsEmpty;

// Sums of all three algorithms and both wires, and those that are applied, as in a training step,
// then a barrier.
void step(SumQueue& queue, Communicator& group, std::vector<float>& data) {
  static const Communicator::Apply kApply = [](size_t, size_t) {};
  SumQueue::Ticket last = 0;
  for (const size_t n : {size_t{100}, size_t{60'000}, size_t{1'000'000}}) {
    queue.push(data.data(), n, Wire::kFloat32);
    queue.push(data.data(), n, Wire::kBf16);
    last = queue.push(data.data(), data.data(), n, kApply);
  }
  queue.wait(last);
  group.barrier();
}

TEST(ExchangeStep, AllocatesNothingAfterTheFirstOnes) {
  if (!CAFFE_OWN_ALLOCATOR) GTEST_SKIP() << "the sanitizer has an allocator of its own";
  GroupSetup setup;
  setup.change = [](ConnectOptions& options) {
    options.heartbeat_interval = std::chrono::milliseconds(5);
  };
  const auto errors = run_group(
      2,
      [](Communicator& group) {
        SumQueue queue(group);
        std::vector<float> data(1'000'000);
        for (int i = 0; i < 3; ++i) step(queue, group, data);
        if (group.rank() == 0) armed = true;
        for (int i = 0; i < 5; ++i) step(queue, group, data);
        if (group.rank() == 0) armed = false;
        group.barrier();
      },
      setup);
  EXPECT_THAT(errors, Each(IsEmpty()));
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace caffe

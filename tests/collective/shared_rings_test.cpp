#include "collective/shared_rings.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/error_of.h"

namespace caffe {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

struct Pair {
  Descriptor memory = SharedRings::create();
  SharedRings first{memory, 0};
  SharedRings second{memory, 1};
};

SharedRings::Moved send(SharedRings& rings, const std::string& text) {
  const iovec part{const_cast<char*>(text.data()), text.size()};
  return rings.send(&part, 1);
}

std::string receive(SharedRings& rings, size_t size) {
  std::string text(size, '?');
  const iovec part{text.data(), text.size()};
  text.resize(rings.receive(&part, 1).bytes);
  return text;
}

// Sends until the ring is full; how many bytes that are.
size_t fill(SharedRings& rings) {
  const std::string text(100'000, 'x');
  size_t all = 0;
  for (size_t moved = 1; moved > 0; all += moved) moved = send(rings, text).bytes;
  return all;
}

TEST(SharedRings, CarryBytesInBothDirectionsInParts) {
  Pair pair;
  std::string first = "ab", second = "cdef";
  const std::vector<iovec> parts{{first.data(), 2}, {nullptr, 0}, {second.data(), 4}};
  EXPECT_EQ(pair.first.send(parts.data(), parts.size()).bytes, 6u);
  EXPECT_EQ(send(pair.second, "back").bytes, 4u);
  EXPECT_EQ(receive(pair.second, 4), "abcd");
  EXPECT_EQ(receive(pair.second, 4), "ef");
  EXPECT_EQ(receive(pair.second, 4), "");
  EXPECT_EQ(receive(pair.first, 10), "back");
}

TEST(SharedRings, TakeNoMoreThanTheyHold) {
  Pair pair;
  const size_t held = fill(pair.first);
  EXPECT_GT(held, 100'000u);
  EXPECT_EQ(send(pair.first, "y").bytes, 0u);
  EXPECT_EQ(receive(pair.second, 10), "xxxxxxxxxx");
  EXPECT_EQ(send(pair.first, std::string(20, 'y')).bytes, 10u);
}

TEST(SharedRings, WakeWhoRestsOnceAndOnlyForWhatItWaits) {
  Pair pair;
  EXPECT_TRUE(pair.second.rest(false, true));
  EXPECT_TRUE(send(pair.first, "a").wakes);
  EXPECT_FALSE(send(pair.first, "b").wakes);
  EXPECT_FALSE(pair.second.rest(false, true));  // something has come
  pair.second.rise();
  EXPECT_FALSE(send(pair.first, "c").wakes);
  fill(pair.first);
  EXPECT_TRUE(pair.first.rest(true, false));
  EXPECT_FALSE(send(pair.second, "d").wakes);  // it waits for room alone
  const iovec nothing{nullptr, 0};
  EXPECT_FALSE(pair.second.receive(&nothing, 1).wakes);
  std::string byte(1, ' ');
  const iovec part{byte.data(), 1};
  EXPECT_TRUE(pair.second.receive(&part, 1).wakes);
  EXPECT_FALSE(pair.first.rest(true, false));
}

// What a thread sends, in pieces of all sizes, is what another receives.
TEST(SharedRings, KeepTheOrderBetweenTwoThreads) {
  Pair pair;
  std::vector<uint32_t> numbers(2'000'000), arrived(numbers.size());
  std::iota(numbers.begin(), numbers.end(), 0u);
  const auto move = [](std::vector<uint32_t>& values, unsigned seed, const auto& step) {
    std::mt19937 random(seed);
    auto* bytes = reinterpret_cast<char*>(values.data());
    const size_t all = values.size() * sizeof(uint32_t);
    for (size_t done = 0; done < all;) {
      const iovec part{bytes + done, std::min<size_t>(all - done, 1 + random() % 300'000)};
      const size_t moved = step(part);
      if (moved == 0) std::this_thread::yield();
      done += moved;
    }
  };
  std::thread sender([&] {
    move(numbers, 1, [&](const iovec& part) { return pair.first.send(&part, 1).bytes; });
  });
  move(arrived, 2, [&](const iovec& part) { return pair.second.receive(&part, 1).bytes; });
  sender.join();
  EXPECT_TRUE(arrived == numbers);
}

TEST(SharedRings, RefuseMemoryThatIsSomethingElse) {
  Descriptor loose(memfd_create("test", MFD_CLOEXEC));  // could be made smaller later
  ASSERT_EQ(ftruncate(loose.get(), 4 << 20), 0);
  Descriptor small(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(small.get(), 4096), 0);
  ASSERT_EQ(fcntl(small.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  for (const Descriptor* memory : {&loose, &small}) {
    EXPECT_THAT(error_of([&] { SharedRings(*memory, 0); }), HasSubstr("is something else"));
  }
}

TEST(SharedRings, NoticeCountersThatCannotBe) {
  Pair pair;
  // The first counter of the memory: what the first side has written.
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pair.memory.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  *static_cast<uint64_t*>(memory) = uint64_t{1} << 40;
  EXPECT_THAT(error_of([&] { receive(pair.second, 8); }), HasSubstr("is damaged"));
  munmap(memory, 4096);
}

TEST(SharedRings, CannotBeMadeSmaller) {
  const Descriptor memory = SharedRings::create();
  EXPECT_NE(ftruncate(memory.get(), 0), 0);
}

}  // namespace
}  // namespace caffe

#include "core/pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace caffe {
namespace {

constexpr size_t kSmallPage = 4096;
constexpr size_t kBytes = 5 * kLargePage + 3 * kSmallPage + 17;

class Pages : public ::testing::Test {
 protected:
  Pages() : memory_(static_cast<char*>(map_pages(kBytes))) {}
  ~Pages() override { unmap_pages(memory_, kBytes); }

  // How many small pages are in memory.
  int64_t resident() const {
    std::vector<unsigned char> pages(kBytes / kSmallPage + 1);
    EXPECT_EQ(mincore(memory_, kBytes, pages.data()), 0);
    return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
  }

  char* memory_;
};

TEST_F(Pages, BeginAtALargePageAndAreTakenLater) {
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory_) % kLargePage, 0u);
  EXPECT_EQ(resident(), 0);
}

// With patience for large pages, and without.
TEST_F(Pages, AreAllThereWhenTaken) {
  for (const double patience : {1e9, 0.0}) {
    char* memory = static_cast<char*>(map_pages(kBytes));
    std::swap(memory, memory_);
    memory_[kLargePage + 1] = 42;
    take_pages(memory_, kBytes, patience);
    EXPECT_EQ(resident(), static_cast<int64_t>(kBytes / kSmallPage + 1)) << patience;
    EXPECT_EQ(memory_[kLargePage + 1], 42);
    EXPECT_EQ(std::count(memory_, memory_ + kBytes, 0), static_cast<int64_t>(kBytes - 1));
    std::swap(memory, memory_);
    unmap_pages(memory, kBytes);
  }
}

}  // namespace
}  // namespace caffe

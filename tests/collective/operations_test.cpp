#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "collective/group.h"

namespace caffe {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<float> values(int rank, size_t n) {
  std::mt19937 random(1234 + rank);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> data(n);
  for (float& value : data) value = uniform(random);
  return data;
}

class AllReduce : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(AllReduce, SumsWithEqualBitsOnAllRanks) {
  const auto [world, n] = GetParam();
  std::vector<std::vector<float>> results(world);
  const auto errors = run_group(world, [&, n = n](Communicator& group) {
    // Twice: the second one runs on used memory.
    for (int round = 0; round < 2; ++round) {
      std::vector<float> data = values(group.rank(), n);
      group.allreduce_sum(data.data(), n);
      results[group.rank()] = std::move(data);
    }
  });
  ASSERT_THAT(errors, Each(IsEmpty()));
  std::vector<double> exact(n), magnitude(n);
  for (int rank = 0; rank < world; ++rank) {
    const std::vector<float> data = values(rank, n);
    for (size_t i = 0; i < n; ++i) {
      exact[i] += data[i];
      magnitude[i] += std::abs(data[i]);
    }
  }
  for (int rank = 1; rank < world; ++rank) {
    ASSERT_EQ(results[rank].size(), n);
    // No pointers to compare where there is nothing.
    if (n == 0) continue;
    ASSERT_EQ(std::memcmp(results[rank].data(), results[0].data(), n * sizeof(float)), 0);
  }
  for (size_t i = 0; i < n; ++i) {
    // Each of the world - 1 additions errs by half a unit in the last place.
    ASSERT_NEAR(results[0][i], exact[i], world * magnitude[i] * 6e-8) << "at " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AllReduce,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5),
                                          testing::Values(0, 1, 2, 4, 1023, 16384, 16385, 65536,
                                                          100'003, 1'000'001)));

TEST(AllReduceOfTwo, IsThePlainSum) {
  for (const size_t n : {1000, 300'000}) {
    std::vector<float> result(n);
    const auto errors = run_group(2, [&](Communicator& group) {
      std::vector<float> data = values(group.rank(), n);
      group.allreduce_sum(data.data(), n);
      if (group.rank() == 1) result = data;
    });
    ASSERT_THAT(errors, Each(IsEmpty()));
    const auto a = values(0, n), b = values(1, n);
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(result[i], a[i] + b[i]);
  }
}

class Broadcast : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(Broadcast, GivesEveryRankTheBytesOfEachRoot) {
  const auto [world, bytes] = GetParam();
  const auto errors = run_group(world, [&, bytes = bytes](Communicator& group) {
    for (int root = 0; root < group.world(); ++root) {
      std::string expected(bytes, static_cast<char>('a' + root));
      if (bytes > 0) expected.back() = '!';
      std::string data = group.rank() == root ? expected : std::string(bytes, '?');
      group.broadcast(data.data(), bytes, root);
      ASSERT_EQ(data, expected) << "root " << root;
    }
  });
  ASSERT_THAT(errors, Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Broadcast,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5),
                                          testing::Values(0, 1, 7, 65536, 65537, 2'500'001)));

TEST(AllGather, GivesSharesOfDifferentSizesByRank) {
  for (int world = 1; world <= 5; ++world) {
    const auto share = [](int rank) {
      return std::string(rank * 100'000, static_cast<char>('a' + rank));
    };
    const auto errors = run_group(world, [&](Communicator& group) {
      const auto all = group.allgather(share(group.rank()));
      ASSERT_EQ(all.size(), static_cast<size_t>(world));
      for (int rank = 0; rank < world; ++rank) ASSERT_EQ(all[rank], share(rank));
    });
    ASSERT_THAT(errors, Each(IsEmpty()));
  }
}

TEST(Barrier, LetsNobodyThroughBeforeAllHaveCome) {
  for (int world = 1; world <= 5; ++world) {
    std::atomic<int> come{0};
    const auto errors = run_group(world, [&](Communicator& group) {
      for (int round = 1; round <= 20; ++round) {
        ++come;
        group.barrier();
        ASSERT_GE(come, round * world);
        group.barrier();
      }
    });
    ASSERT_THAT(errors, Each(IsEmpty()));
  }
}

TEST(Stats, CountBytesAndOperations) {
  const auto errors = run_group(2, [&](Communicator& group) {
    const CommunicatorStats before = group.stats();
    std::vector<float> data(1'000'000);
    group.allreduce_sum(data.data(), data.size());
    const CommunicatorStats after = group.stats();
    // Two ranks send each half of the data twice in all.
    EXPECT_GE(after.bytes_sent - before.bytes_sent, 4'000'000U);
    EXPECT_LE(after.bytes_sent - before.bytes_sent, 4'000'100U);
    EXPECT_GE(after.bytes_received - before.bytes_received, 4'000'000U);
    EXPECT_EQ(after.operations - before.operations, 1U);
    EXPECT_GE(after.seconds_waited, 0);
  });
  ASSERT_THAT(errors, Each(IsEmpty()));
}

}  // namespace
}  // namespace caffe

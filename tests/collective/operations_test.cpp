#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "collective/algorithms.h"
#include "collective/bf16.h"
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

// What all ranks end with: the same bits, or the test fails.
std::vector<float> summed(int world, size_t n, Wire wire, bool shared = true) {
  GroupSetup setup;
  setup.change = [=](ConnectOptions& options) { options.share_memory = shared; };
  std::vector<std::vector<float>> results(world);
  const auto errors = run_group(
      world,
      [&](Communicator& group) {
        // Twice: the second one runs on used memory.
        for (int round = 0; round < 2; ++round) {
          std::vector<float> data = values(group.rank(), n);
          group.allreduce_sum(data.data(), n, wire);
          results[group.rank()] = std::move(data);
        }
      },
      setup);
  EXPECT_THAT(errors, Each(IsEmpty()));
  for (int rank = 1; rank < world; ++rank) {
    EXPECT_EQ(results[rank].size(), n);
    // No pointers to compare where there is nothing.
    if (n == 0 || results[rank].size() != n) continue;
    EXPECT_EQ(std::memcmp(results[rank].data(), results[0].data(), n * sizeof(float)), 0);
  }
  return results[0];
}

// Each addition errs by half a unit in the last place: `unit` times the magnitude.
void expect_sums(const std::vector<float>& results, int world, double unit) {
  const size_t n = results.size();
  std::vector<double> exact(n), magnitude(n);
  for (int rank = 0; rank < world; ++rank) {
    const std::vector<float> data = values(rank, n);
    for (size_t i = 0; i < n; ++i) {
      exact[i] += data[i];
      magnitude[i] += std::abs(data[i]);
    }
  }
  for (size_t i = 0; i < n; ++i) {
    ASSERT_NEAR(results[i], exact[i], world * magnitude[i] * unit) << "at " << i;
  }
}

class AllReduce : public testing::TestWithParam<std::tuple<int, size_t, bool>> {};

TEST_P(AllReduce, SumsWithEqualBitsOnAllRanks) {
  const auto [world, n, shared] = GetParam();
  expect_sums(summed(world, n, Wire::kFloat32, shared), world, 6e-8);
}

INSTANTIATE_TEST_SUITE_P(Sizes, AllReduce,
                         testing::Combine(testing::Range(1, 10),
                                          testing::Values(0, 1, 2, 8, 1023, 16384, 16385, 65536,
                                                          100'003, 1'000'001),
                                          testing::Bool()));

class AllReduceBf16 : public testing::TestWithParam<std::tuple<int, size_t, bool>> {};

TEST_P(AllReduceBf16, SumsWithEqualBitsAndRoundsOnceAHop) {
  const auto [world, n, shared] = GetParam();
  // A bf16 number has 8 bits; every hop rounds once.
  expect_sums(summed(world, n, Wire::kBf16, shared), world, 1.0 / 256);
}

INSTANTIATE_TEST_SUITE_P(Sizes, AllReduceBf16,
                         testing::Combine(testing::Range(1, 10),
                                          testing::Values(0, 17, 16385, 100'003, 600'001),
                                          testing::Bool()));

TEST(PrefersHalving, OnlyWhereSharesAreSmall) {
  EXPECT_FALSE(prefers_halving(20'000, 2));
  EXPECT_TRUE(prefers_halving(16'385, 8));
  EXPECT_FALSE(prefers_halving(1'000'001, 8));
  EXPECT_TRUE(prefers_halving(16'385, 9));
  EXPECT_FALSE(prefers_halving(100'003, 9));
}

TEST(RingOrder, PutsRanksOfAHostBesideEachOther) {
  Workspace work;
  order_ring(work, {"10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.1"}, 2);
  EXPECT_THAT(work.ring, ElementsAre(1, 3, 0, 2));
  EXPECT_EQ(work.place, 3);
}

TEST(AllReduceBf16OfTwo, AddsInFloatAndRoundsTheResult) {
  const size_t n = 100'000;
  const std::vector<float> result = summed(2, n, Wire::kBf16);
  const auto a = values(0, n), b = values(1, n);
  const auto round = [](float value) {
    round_to_bf16(&value, 1);
    return value;
  };
  // Of each half the owner has the other's rounded values and its own as they are.
  for (size_t i = 0; i < n; ++i) {
    const bool by_first = result[i] == round(a[i] + round(b[i]));
    const bool by_second = result[i] == round(round(a[i]) + b[i]);
    ASSERT_TRUE(by_first || by_second) << "at " << i;
  }
}

TEST(AllReduceBf16OfTwo, SendsHalfTheBytes) {
  const auto errors = run_group(2, [&](Communicator& group) {
    const CommunicatorStats before = group.stats();
    std::vector<float> data(1'000'000);
    group.allreduce_sum(data.data(), data.size(), Wire::kBf16);
    const uint64_t sent = group.stats().bytes_sent - before.bytes_sent;
    EXPECT_GE(sent, 2'000'000U);
    EXPECT_LE(sent, 2'000'100U);
  });
  ASSERT_THAT(errors, Each(IsEmpty()));
}

TEST(AllReduceOfDifferentWires, IsFound) {
  const auto errors = run_group(2, [&](Communicator& group) {
    std::vector<float> data(100'000);
    group.allreduce_sum(data.data(), data.size(), group.rank() ? Wire::kBf16 : Wire::kFloat32);
  });
  for (const std::string& error : errors) {
    EXPECT_THAT(error, testing::HasSubstr("all-reduce of 100000 floats as bf16"));
  }
}

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

// What a rank ends with, and how often it was handed each element.
struct Applied {
  std::vector<float> results;
  std::vector<int> times;
};

std::vector<Applied> reduced_and_applied(int world, size_t n) {
  std::vector<Applied> all(world);
  const auto errors = run_group(world, [&](Communicator& group) {
    Applied& own = all[group.rank()];
    own = {std::vector<float>(n, -9), std::vector<int>(n)};
    std::vector<float> data = values(group.rank(), n);
    const Communicator::Apply apply = [&](size_t begin, size_t count) {
      for (size_t i = begin; i < begin + count; ++i) {
        own.results[i] = 3 * data[i] + static_cast<float>(i % 7);
        ++own.times[i];
      }
    };
    group.reduce_apply_gather(data.data(), own.results.data(), n, apply);
    for (int rank = 0; rank < group.world(); ++rank) {
      const Part part = group.owned(n, rank);
      ASSERT_LE(part.begin + part.count, n);
      if (rank != group.rank()) continue;
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(own.times[i], i >= part.begin && i < part.begin + part.count) << "at " << i;
      }
    }
  });
  EXPECT_THAT(errors, Each(IsEmpty()));
  return all;
}

class ReduceApplyGather : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(ReduceApplyGather, GivesAllRanksWhatTheOwnersMakeOfTheSum) {
  const auto [world, n] = GetParam();
  const std::vector<float> sums = summed(world, n, Wire::kFloat32);
  const std::vector<Applied> all = reduced_and_applied(world, n);
  const int owners = n * sizeof(float) <= 65536 ? world : 1;
  for (size_t i = 0; i < n; ++i) {
    int times = 0;
    for (const Applied& rank : all) {
      times += rank.times[i];
      ASSERT_EQ(rank.results[i], 3 * sums[i] + static_cast<float>(i % 7)) << "at " << i;
    }
    ASSERT_EQ(times, owners) << "at " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ReduceApplyGather,
                         testing::Combine(testing::Range(1, 10),
                                          testing::Values(0, 1, 1023, 16384, 16385, 65536, 100'003,
                                                          1'000'001)));

TEST(ReduceApplyGatherAgainstASum, IsFound) {
  const auto errors = run_group(2, [&](Communicator& group) {
    std::vector<float> data(100'000);
    if (group.rank() == 0) {
      group.allreduce_sum(data.data(), data.size());
    } else {
      group.reduce_apply_gather(data.data(), data.data(), data.size(), [](size_t, size_t) {});
    }
  });
  for (const std::string& error : errors) {
    EXPECT_THAT(error, testing::HasSubstr("reduce-apply-gather of 100000 floats"));
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

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "collective/rank_process.h"

namespace caffe {

// What every transport from outside has to do; `path`: the folder of its library.

// All operations give the right numbers, the largest over `largest` of them.
inline void expect_all_operations(const std::string& name, const std::string& path, int world,
                                  size_t largest) {
  GroupSetup setup;
  setup.listen = {"127.0.0.1", name, path};
  const auto errors = run_group(
      world,
      [largest](Communicator& group) {
        const int world = group.world();
        for (const size_t n : {size_t{0}, size_t{5}, size_t{70'000}, largest}) {
          std::vector<float> data(n);
          for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>(i % 1000 + group.rank() + 1);
          group.allreduce_sum(data.data(), n);
          for (size_t i = 0; i < n; ++i) {
            ASSERT_EQ(data[i], static_cast<float>(i % 1000 * world + world * (world + 1) / 2)) << i;
          }
        }
        std::string text(300'000, static_cast<char>('a' + group.rank()));
        group.broadcast(text.data(), text.size(), world - 1);
        ASSERT_THAT(text, testing::Each(static_cast<char>('a' + world - 1)));
        group.barrier();
        if (world > 1) {
          EXPECT_GT(group.stats().bytes_sent, 4 * (largest - 1));
        }
      },
      setup);
  EXPECT_THAT(errors, testing::Each(testing::IsEmpty()));
}

inline std::vector<RankProcess> processes_with(const std::string& name, const std::string& path,
                                               int world) {
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < world; ++rank) ranks.push_back(RankProcess::with_transport(name, path));
  return ranks;
}

// When one of three processes is killed, the others say which, and live on.
inline void expect_a_death_is_known(const std::string& name, const std::string& path) {
  ProcessGroup group(processes_with(name, path, 3));
  ASSERT_TRUE(group.connect());
  ASSERT_TRUE(group.loop(4'000'000));
  group[1].signal(SIGKILL);
  for (const int rank : {0, 2}) {
    EXPECT_THAT(group[rank].hear(),
                testing::AllOf(testing::StartsWith("ERROR 4 rank 1 (127.0.0.1:"),
                               testing::HasSubstr("closed its connection")));
    EXPECT_TRUE(group[rank].alive());
  }
}

}  // namespace caffe

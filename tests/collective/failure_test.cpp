#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "collective/rank_process.h"

namespace caffe {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// All waits of this file end; the deaths themselves are known much sooner than this.
constexpr milliseconds kSoon{5000};

constexpr size_t kSmall = 4096, kLarge = 8'000'000;

void quick_heartbeats(ConnectOptions& options) {
  options.heartbeat_interval = milliseconds(100);
  options.silence_limit = milliseconds(1500);
}

// The survivor has said its error; it lives, and says the same for ever after.
void expect_dead_object_in_live_process(RankProcess& process, const std::string& error) {
  EXPECT_TRUE(process.alive());
  for (int again = 0; again < 2; ++again) {
    process.tell("barrier");
    EXPECT_EQ(process.hear(kSoon), error);
  }
}

TEST(Processes, ReduceAwkwardSizesInGroupsOfAllSizes) {
  for (int world = 1; world <= 9; ++world) {
    ProcessGroup group(world);
    ASSERT_TRUE(group.connect());
    for (const int n : {0, 1, world - 1, 16'385, 100'003, 700'001}) {
      for (int rank = 0; rank < world; ++rank) group[rank].tell(concat("reduce ", n));
      for (int rank = 0; rank < world; ++rank) EXPECT_EQ(group[rank].hear(), "DONE") << n;
    }
  }
}

// Ranks of one host, through shared memory or by TCP.
class Death : public testing::TestWithParam<std::tuple<int, size_t, bool>> {
 protected:
  static void change(ConnectOptions& options) { options.share_memory = std::get<2>(GetParam()); }
};

TEST_P(Death, OfAProcessIsKnownToAllSurvivors) {
  const auto [world, bytes, _] = GetParam();
  ProcessGroup group(world);
  ASSERT_TRUE(group.connect(change));
  ASSERT_TRUE(group.loop(bytes));
  group[1].signal(SIGKILL);
  for (int rank = 0; rank < world; ++rank) {
    if (rank == 1) continue;
    const std::string error = group[rank].hear(kSoon);
    EXPECT_THAT(error, AllOf(StartsWith("ERROR 4 "), HasSubstr(group.name(1)),
                             HasSubstr("closed its connection")));
    expect_dead_object_in_live_process(group[rank], error);
  }
}

TEST_P(Death, ByStoppingIsKnownAfterTheSilenceLimit) {
  const auto [world, bytes, _] = GetParam();
  ProcessGroup group(world);
  ASSERT_TRUE(group.connect([](ConnectOptions& options) {
    change(options);
    quick_heartbeats(options);
  }));
  ASSERT_TRUE(group.loop(bytes));
  group[1].signal(SIGSTOP);
  for (int rank = 0; rank < world; ++rank) {
    if (rank == 1) continue;
    const std::string error = group[rank].hear(kSoon);
    EXPECT_THAT(error, AllOf(StartsWith("ERROR 4 "), HasSubstr(group.name(1)),
                             HasSubstr("has been silent for 1.5 s")));
    expect_dead_object_in_live_process(group[rank], error);
  }
  // It is told what it missed.
  group[1].signal(SIGCONT);
  EXPECT_THAT(group[1].hear(kSoon), AllOf(HasSubstr(group.name(1)), HasSubstr("has been silent")));
}

TEST_P(Death, ByAbortIsKnownToAllWithItsReason) {
  const auto [world, bytes, _] = GetParam();
  ProcessGroup group(world);
  ASSERT_TRUE(group.connect(change));
  ASSERT_TRUE(group.loop(bytes));
  group[1].tell("abort the disk is full");
  for (int rank = 0; rank < world; ++rank) {
    const std::string error = group[rank].hear(kSoon);
    EXPECT_THAT(error, AllOf(StartsWith("ERROR 4 "), HasSubstr(group.name(1)),
                             HasSubstr("aborted: the disk is full")));
    expect_dead_object_in_live_process(group[rank], error);
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, Death,
                         testing::Combine(testing::Values(2, 4), testing::Values(kSmall, kLarge),
                                          testing::Bool()));

TEST(Failure, OfAnIdleGroupIsReportedByTheNextOperation) {
  ProcessGroup group(3);
  ASSERT_TRUE(group.connect());
  group[2].signal(SIGKILL);
  for (int rank = 0; rank < 2; ++rank) {
    group[rank].tell("barrier");
    EXPECT_THAT(group[rank].hear(kSoon), AllOf(StartsWith("ERROR 4 "), HasSubstr(group.name(2))));
  }
}

TEST(Failure, CancellingKeepsItsCodeOnAllRanks) {
  ProcessGroup group(3);
  ASSERT_TRUE(group.connect());
  ASSERT_TRUE(group.loop(kLarge));
  group[0].tell("cancel the task was killed");
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(group[rank].hear(kSoon), AllOf(StartsWith("ERROR 5 "), HasSubstr(group.name(0)),
                                               HasSubstr("the task was killed")));
  }
}

TEST(Failure, ASlowRankIsWaitedForWhileItsHeartbeatsCome) {
  ProcessGroup group(3);
  ASSERT_TRUE(group.connect([](ConnectOptions& options) {
    options.heartbeat_interval = milliseconds(50);
    options.silence_limit = milliseconds(300);
  }));
  group[0].tell("barrier");
  group[1].tell("barrier");
  // Three silence limits long nothing may be said.
  EXPECT_EQ(group[0].hear(milliseconds(900)), "");
  group[2].tell("barrier");
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(group[rank].hear(), "DONE");
}

TEST(Failure, ARankThatNeverComesIsNamedAfterTheCollectiveTimeout) {
  ProcessGroup group(4);
  ASSERT_TRUE(group.connect([](ConnectOptions& options) {
    quick_heartbeats(options);
    options.collective_timeout = milliseconds(800);
  }));
  for (const int rank : {0, 1, 3}) group[rank].tell("reduce 500000");
  for (const int rank : {0, 1, 3}) {
    EXPECT_THAT(
        group[rank].hear(kSoon),
        AllOf(StartsWith("ERROR 4 nothing has moved for "), HasSubstr("all-reduce of 500000"),
              HasSubstr(group.name(2) + " is alive, but has not gone beyond operation 1")));
  }
  EXPECT_TRUE(group[2].alive());
}

TEST(Failure, ARankThatLeavesIsNamedByThoseWhoNeedIt) {
  ProcessGroup group(3);
  ASSERT_TRUE(group.connect());
  group[1].tell("leave");
  ASSERT_EQ(group[1].hear(), "LEFT");
  for (const int rank : {0, 2}) group[rank].tell("reduce 500000");
  for (const int rank : {0, 2}) {
    EXPECT_THAT(group[rank].hear(kSoon), AllOf(StartsWith("ERROR 4 "), HasSubstr(group.name(1)),
                                               HasSubstr("left the group before")));
  }
}

TEST(Failure, DifferentOperationsAreFound) {
  ProcessGroup group(2);
  ASSERT_TRUE(group.connect());
  group[0].tell("reduce 500000");
  group[1].tell("reduce 600000");
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_THAT(group[rank].hear(kSoon), AllOf(HasSubstr(group.name(0)), HasSubstr(group.name(1)),
                                               HasSubstr("all-reduce of 500000 floats"),
                                               HasSubstr("all-reduce of 600000 floats")));
  }
}

}  // namespace
}  // namespace caffe

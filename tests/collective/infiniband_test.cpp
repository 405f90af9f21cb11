// The transport `infiniband`, where there is a device; ci/infiniband.sh runs these tests in a
// virtual machine that has one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "collective/plugin.h"
#include "collective/rank_process.h"
#include "core/log.h"

namespace caffe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const std::string kFolder = CAFFE_INFINIBAND;

// Why there is no InfiniBand here; empty where there is.
std::string missing() {
  std::string reason;
  set_log_sink([&](Severity, const char*, int, const std::string& text) { reason = text; });
  const std::string name = make_transport("infiniband", kFolder).name;
  set_log_sink(nullptr);
  return name == "infiniband" ? "" : reason;
}

class Infiniband : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = missing();
    if (!reason.empty()) GTEST_SKIP() << reason;
  }
};

class InfinibandGroup : public Infiniband, public testing::WithParamInterface<int> {};

TEST_P(InfinibandGroup, CarriesAllOperations) {
  GroupSetup setup;
  setup.listen = {"127.0.0.1", "infiniband", kFolder};
  const auto errors = run_group(
      GetParam(),
      [](Communicator& group) {
        for (const size_t n : {size_t{0}, size_t{5}, size_t{70'000}, size_t{200'001}}) {
          std::vector<float> data(n);
          for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>(i % 1000 + group.rank());
          group.allreduce_sum(data.data(), n);
          const int world = group.world();
          for (size_t i = 0; i < n; ++i) {
            ASSERT_EQ(data[i], static_cast<float>(i % 1000 * world + world * (world - 1) / 2)) << i;
          }
        }
        std::string text(300'000, static_cast<char>('a' + group.rank()));
        group.broadcast(text.data(), text.size(), group.world() - 1);
        ASSERT_THAT(text, Each(static_cast<char>('a' + group.world() - 1)));
        group.barrier();
        if (group.world() > 1) {
          EXPECT_GT(group.stats().bytes_sent, 800'000U);
        }
      },
      setup);
  EXPECT_THAT(errors, Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Worlds, InfinibandGroup, testing::Values(1, 2, 3, 5));

std::vector<RankProcess> processes(int world) {
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < world; ++rank) {
    ranks.push_back(RankProcess::with_transport("infiniband", kFolder));
  }
  return ranks;
}

TEST_F(Infiniband, ADeathIsKnownToAllWithRankAndHost) {
  ProcessGroup group(processes(3));
  ASSERT_TRUE(group.connect());
  ASSERT_TRUE(group.loop(4'000'000));
  group[1].signal(SIGKILL);
  for (const int rank : {0, 2}) {
    EXPECT_THAT(group[rank].hear(), AllOf(StartsWith("ERROR 4 rank 1 (127.0.0.1:"),
                                          HasSubstr("closed its connection")));
    EXPECT_TRUE(group[rank].alive());
  }
}

TEST_F(Infiniband, APeerThatHasLeftTakesNothingAway) {
  ProcessGroup group(processes(2));
  ASSERT_TRUE(group.connect());
  for (int turn = 0; turn < 20; ++turn) {
    for (int rank = 0; rank < 2; ++rank) group[rank].tell("reduce 100000");
    for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(group[rank].hear(), "DONE");
  }
  group[0].tell("leave");
  EXPECT_EQ(group[0].hear(), "LEFT");
  group[1].tell("leave");
  EXPECT_EQ(group[1].hear(), "LEFT");
}

}  // namespace
}  // namespace caffe

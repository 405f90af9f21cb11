// The transport `infiniband`, where there is a device; ci/guest.sh runs these tests in a
// virtual machine that has one.
#include <gtest/gtest.h>

#include "collective/plugin.h"
#include "collective/transport_checks.h"
#include "core/log.h"

namespace caffe {
namespace {

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
  expect_all_operations("infiniband", kFolder, GetParam(), 200'001);
}

INSTANTIATE_TEST_SUITE_P(Worlds, InfinibandGroup, testing::Values(1, 2, 3, 5));

TEST_F(Infiniband, ADeathIsKnownToAllWithRankAndHost) {
  expect_a_death_is_known("infiniband", kFolder);
}

TEST_F(Infiniband, APeerThatHasLeftTakesNothingAway) {
  ProcessGroup group(processes_with("infiniband", kFolder, 2));
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

// Several hosts on one machine: network namespaces, joined by a bridge in one more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "collective/rank_process.h"

namespace caffe {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr milliseconds kSoon{8000};

bool run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class Hosts : public testing::Test {
 protected:
  static constexpr int kHosts = 3;

  void SetUp() override {
    if (!run("ip netns add " + hub())) {
      GTEST_SKIP() << "network namespaces are not permitted here (ip netns add failed)";
    }
    bool built = run("ip -n " + hub() + " link add br0 type bridge") &&
                 run("ip -n " + hub() + " link set br0 up");
    for (int i = 0; i < kHosts && built; ++i) {
      const std::string port = concat("h", i);
      built = run("ip netns add " + host(i)) &&
              run("ip -n " + hub() + " link add " + port + " type veth peer name eth0 netns " +
                  host(i)) &&
              run("ip -n " + hub() + " link set " + port + " master br0 up") &&
              run(concat("ip -n ", host(i), " addr add 10.77.0.", i + 1, "/24 dev eth0")) &&
              run("ip -n " + host(i) + " link set eth0 up") &&
              run("ip -n " + host(i) + " link set lo up");
    }
    if (!built) GTEST_SKIP() << "this kernel has no bridge or veth devices";
  }

  void TearDown() override {
    for (int i = 0; i < kHosts; ++i) run("ip netns del " + host(i));
    run("ip netns del " + hub());
  }

  static std::string hub() { return concat("caffe", getpid(), "hub"); }
  static std::string host(int i) { return concat("caffe", getpid(), "h", i); }

  // One rank on each host, which finds its address by itself or by the name of the device.
  static ProcessGroup start(const std::string& interface) {
    std::vector<RankProcess> ranks;
    for (int i = 0; i < kHosts; ++i) {
      ranks.emplace_back(interface, std::vector<std::string>{"ip", "netns", "exec", host(i)});
      EXPECT_THAT(ranks.back().address(), StartsWith(concat("10.77.0.", i + 1, ":")));
    }
    return ProcessGroup(std::move(ranks));
  }
};

TEST_F(Hosts, ReduceOverTheirNetwork) {
  for (const std::string interface : {"", "eth0"}) {
    ProcessGroup group = start(interface);
    ASSERT_TRUE(group.connect());
    for (int rank = 0; rank < kHosts; ++rank) group[rank].tell("reduce 500000");
    for (int rank = 0; rank < kHosts; ++rank) EXPECT_EQ(group[rank].hear(), "DONE");
  }
}

TEST_F(Hosts, ALostLinkIsKnownToAllAfterTheSilenceLimit) {
  ProcessGroup group = start("eth0");
  ASSERT_TRUE(group.connect([](ConnectOptions& options) {
    options.heartbeat_interval = milliseconds(200);
    options.silence_limit = milliseconds(2000);
  }));
  ASSERT_TRUE(group.loop(2'000'000));
  ASSERT_TRUE(run("ip -n " + hub() + " link set h2 down"));
  for (int rank = 0; rank < kHosts; ++rank) {
    const std::string error = group[rank].hear(kSoon);
    EXPECT_THAT(error, AllOf(StartsWith("ERROR 4 "), HasSubstr("has been silent for 2 s")));
    if (rank < 2) {
      EXPECT_THAT(error, HasSubstr(group.name(2)));
    } else {
      EXPECT_THAT(error, AnyOf(HasSubstr(group.name(0)), HasSubstr(group.name(1))));
    }
    EXPECT_TRUE(group[rank].alive());
  }
}

TEST_F(Hosts, AHostThatCannotBeReachedIsNamedAtTheTimeout) {
  ProcessGroup group = start("eth0");
  ASSERT_TRUE(run("ip -n " + hub() + " link set h0 down"));
  group.tell_connect([](ConnectOptions& options) { options.timeout = milliseconds(2000); });
  for (int rank = 1; rank < kHosts; ++rank) {
    EXPECT_THAT(group[rank].hear(kSoon),
                AllOf(HasSubstr("not connected before the timeout"), HasSubstr(group.name(0))));
  }
  const std::string error = group[0].hear(kSoon);
  EXPECT_THAT(error, AllOf(HasSubstr(group.name(1)), HasSubstr(group.name(2))));
}

}  // namespace
}  // namespace caffe

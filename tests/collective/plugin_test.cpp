// Transports from outside, by the example of examples/transport_unix.
#include "collective/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "collective/rank_process.h"
#include "core/log.h"

namespace caffe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const std::string kFolder = CAFFE_TRANSPORTS;

std::string error_of(const std::string& name, const std::string& path = kFolder) {
  try {
    make_transport(name, path);
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

class Plugin : public testing::TestWithParam<int> {};

TEST_P(Plugin, CarriesAllOperations) {
  GroupSetup setup;
  setup.listen = {"127.0.0.1", "unix", kFolder};
  const auto errors = run_group(
      GetParam(),
      [](Communicator& group) {
        for (const size_t n : {size_t{0}, size_t{5}, size_t{70'000}, size_t{1'000'001}}) {
          std::vector<float> data(n, static_cast<float>(group.rank() + 1));
          group.allreduce_sum(data.data(), n);
          ASSERT_THAT(data, Each(static_cast<float>(group.world() * (group.world() + 1) / 2)));
        }
        std::string text(300'000, static_cast<char>('a' + group.rank()));
        group.broadcast(text.data(), text.size(), group.world() - 1);
        ASSERT_THAT(text, Each(static_cast<char>('a' + group.world() - 1)));
        group.barrier();
        if (group.world() > 1) {
          EXPECT_GT(group.stats().bytes_sent, 4'000'000U);
        }
      },
      setup);
  EXPECT_THAT(errors, Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Worlds, Plugin, testing::Values(1, 2, 3, 5));

TEST(PluginProcesses, ADeathIsKnownToAllWithRankAndHost) {
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < 3; ++rank)
    ranks.push_back(RankProcess::with_transport("unix", kFolder));
  ProcessGroup group(std::move(ranks));
  ASSERT_TRUE(group.connect());
  ASSERT_TRUE(group.loop(4'000'000));
  group[1].signal(SIGKILL);
  for (const int rank : {0, 2}) {
    EXPECT_THAT(group[rank].hear(), AllOf(StartsWith("ERROR 4 rank 1 (127.0.0.1:"),
                                          HasSubstr("closed its connection")));
    EXPECT_TRUE(group[rank].alive());
  }
}

TEST(PluginProcesses, RanksWithDifferentTransportsRefuseEachOther) {
  std::vector<RankProcess> ranks;
  ranks.push_back(RankProcess::with_transport("unix", kFolder));
  ranks.emplace_back();
  ProcessGroup group(std::move(ranks));
  group.tell_connect();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_THAT(group[rank].hear(),
                AllOf(HasSubstr("the transports differ"), HasSubstr("'unix'"), HasSubstr("'tcp'")));
  }
}

TEST(PluginLoading, SaysWhereItLooked) {
  EXPECT_THAT(error_of("pigeons", "/nowhere:/here"),
              AllOf(HasSubstr("there is no libcaffe_transport_pigeons.so in /nowhere, /here, "),
                    HasSubstr("built in: tcp")));
}

TEST(PluginLoading, RefusesWhatIsNoTransport) {
  EXPECT_THAT(error_of("../etc/passwd"), HasSubstr("cannot be the name of a transport"));
  EXPECT_THAT(error_of(""), HasSubstr("cannot be the name of a transport"));
  EXPECT_THAT(error_of("old"), HasSubstr("was built for version 0 of caffe_transport.h"));
  EXPECT_THAT(error_of("absent"), HasSubstr("there is no such device"));
  const std::string folder =
      std::filesystem::temp_directory_path() / concat("caffe_plugin_", getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/libcaffe_transport_text.so") << "not a library";
  EXPECT_THAT(error_of("text", folder), HasSubstr("cannot be loaded"));
  std::filesystem::remove_all(folder);
}

TEST(PluginLoading, InfinibandBecomesTcpWithOneSentence) {
  std::vector<std::string> lines;
  set_log_sink([&](Severity, const char*, int, const std::string& text) { lines.push_back(text); });
  const std::string name = make_transport("infiniband", "/nowhere").name;
  set_log_sink(nullptr);
  EXPECT_EQ(name, "tcp");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], StartsWith("Data travels by TCP instead of InfiniBand: "));
}

}  // namespace
}  // namespace caffe

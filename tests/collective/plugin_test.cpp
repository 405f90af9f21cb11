// Transports from outside, by the example of examples/transport_unix.
#include "collective/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "collective/transport_checks.h"
#include "core/log.h"
#include "support/error_of.h"

namespace caffe {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kFolder = CAFFE_TRANSPORTS;

std::string error_of(const std::string& name, const std::string& path = kFolder) {
  return testing::error_of([&] { make_transport(name, path); });
}

class Plugin : public ::testing::TestWithParam<int> {};

TEST_P(Plugin, CarriesAllOperations) {
  expect_all_operations("unix", kFolder, GetParam(), 1'000'001);
}

INSTANTIATE_TEST_SUITE_P(Worlds, Plugin, ::testing::Values(1, 2, 3, 5));

TEST(PluginProcesses, ADeathIsKnownToAllWithRankAndHost) {
  expect_a_death_is_known("unix", kFolder);
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

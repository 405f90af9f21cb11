#include "net/upgrade.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/files.h"
#include "io/prototxt.h"

namespace caffe {
namespace {

const std::string kFolder = std::string(CAFFE_SOURCE_DIR) + "/tests/golden/upgrade/";

template <typename Message>
void expect_upgrade(const std::string& name, Message (*read)(const std::string&)) {
  const Message ours = read(kFolder + name + ".before.prototxt");
  Message expected;
  parse_text(read_file(kFolder + name + ".after.prototxt"), name, &expected);
  google::protobuf::util::MessageDifferencer differencer;
  std::string report;
  differencer.ReportDifferencesToString(&report);
  EXPECT_TRUE(differencer.Compare(expected, ours)) << name << "\n" << report;
}

class UpgradeNet : public ::testing::TestWithParam<const char*> {};
TEST_P(UpgradeNet, GivesWhatTheToolOfCaffeGives) {
  expect_upgrade<NetParameter>(GetParam(), &read_net);
}
INSTANTIATE_TEST_SUITE_P(Golden, UpgradeNet,
                         ::testing::Values("batchnorm_three_params", "input_dims", "v0_alexlike",
                                           "v1_all_types", "v1_lenet"));

class UpgradeSolver : public ::testing::TestWithParam<const char*> {};
TEST_P(UpgradeSolver, GivesWhatTheToolOfCaffeGives) {
  // The tool also writes the snapshot prefix that the file's name stands for; the engine adds it on
  // reading, too.
  const SolverParameter ours = read_solver(kFolder + GetParam() + ".before.prototxt");
  SolverParameter expected;
  parse_text(read_file(kFolder + GetParam() + ".after.prototxt"), GetParam(), &expected);
  EXPECT_EQ(ours.type(), expected.type());
  EXPECT_FALSE(ours.has_solver_type());
}
INSTANTIATE_TEST_SUITE_P(Golden, UpgradeSolver,
                         ::testing::Values("solver_enum_adadelta", "solver_enum_nesterov",
                                           "solver_enum_sgd"));

TEST(UpgradeNetErrors, RefusesAMixOfForms) {
  try {
    parse_net("layer { name: 'a' type: 'TanH' } layers { name: 'b' type: TANH }", "mixed.prototxt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("mixed.prototxt"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find("'layers'"), std::string::npos) << error.what();
  }
}

TEST(ParseNet, NamesFileLineAndColumn) {
  try {
    parse_net("name: 'x'\nlayer {\n  tyype: 'TanH'\n}\n", "bad.prototxt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message().rfind("bad.prototxt:3:", 0), 0u) << error.what();
    EXPECT_NE(error.message().find("tyype"), std::string::npos) << error.what();
  }
}

TEST(ReadNet, NamesAMissingFile) {
  try {
    read_net("/nonexistent/net.prototxt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.message().find("/nonexistent/net.prototxt"), std::string::npos);
  }
}

}  // namespace
}  // namespace caffe

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

// What Caffe's tool does with data layers, one of which has a field that moved.
TEST(UpgradeDetails, MovesTransformationsOfTheLayersOf2014Alone) {
  const NetParameter old = parse_net(
      "layers { name: 'a' type: DATA top: 'a' data_param { source: 's' scale: 0.5 mirror: true } }"
      "layers { name: 'b' type: DATA top: 'b' data_param { source: 's' } }"
      "layers { name: 'c' type: RELU bottom: 'a' top: 'c' }",
      "old.prototxt");
  NetParameter expected;
  parse_text(
      "layer { name: 'a' type: 'Data' top: 'a' data_param { source: 's' }"
      "  transform_param { scale: 0.5 mirror: true } }"
      "layer { name: 'b' type: 'Data' top: 'b' data_param { source: 's' } transform_param {} }"
      "layer { name: 'c' type: 'ReLU' bottom: 'a' top: 'c' }",
      "expected", &expected);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(old, expected))
      << old.DebugString();
  const NetParameter current = parse_net(
      "layer { name: 'a' type: 'Data' top: 'a' data_param { scale: 0.5 } }", "new.prototxt");
  EXPECT_FALSE(current.layer(0).has_transform_param());
}

TEST(UpgradeDetails, LeavesOutFieldsOfOtherTypesAsCaffeDoes) {
  const NetParameter net = parse_net(
      "layers { layer { name: 'r' type: 'relu' num_output: 3 group: 2 dropout_ratio: 0.1 k: 1 } "
      "bottom: 'a' top: 'b' }",
      "old.prototxt");
  EXPECT_EQ(net.layer(0).type(), "ReLU");
  EXPECT_FALSE(net.layer(0).has_convolution_param() || net.layer(0).has_dropout_param() ||
               net.layer(0).has_lrn_param() || net.layer(0).has_inner_product_param());
}

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

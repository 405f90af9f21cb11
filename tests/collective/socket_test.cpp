#include "collective/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "collective/group.h"
#include "support/error_of.h"

namespace caffe {
namespace {

using ::testing::Each;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class SocketTest : public ::testing::Test {
 protected:
  SocketTest() {
    if (const char* value = std::getenv("SPARK_LOCAL_IP")) before_ = value;
    unsetenv("SPARK_LOCAL_IP");
  }
  ~SocketTest() override {
    unsetenv("SPARK_LOCAL_IP");
    if (!before_.empty()) setenv("SPARK_LOCAL_IP", before_.c_str(), 1);
  }
  std::string before_;
};

TEST_F(SocketTest, EndpointsAreWrittenAndReadBack) {
  for (const char* text : {"10.1.2.3:4711", "[fd00::1]:1", "[::1]:65535"}) {
    EXPECT_EQ(parse_endpoint(text).text(), text);
  }
  for (const char* text : {"", ":", "10.1.2.3", "10.1.2.3:", "10.1.2.3:0", "10.1.2.3:65536",
                           "10.1.2.3:1x", "host:1", "[::1:1", "1.2.3.4.5:1", "10.1.2.3:-1"}) {
    EXPECT_THAT(error_of([&] { parse_endpoint(text); }), HasSubstr("not the address of a rank"));
  }
}

TEST_F(SocketTest, AnInterfaceIsAnAddressADeviceOrAHostName) {
  EXPECT_EQ(local_endpoint("127.0.0.1").text(), "127.0.0.1:0");
  EXPECT_EQ(local_endpoint("lo").text(), "127.0.0.1:0");
  EXPECT_THAT(local_endpoint("localhost").text(), ::testing::AnyOf("127.0.0.1:0", "[::1]:0"));
}

TEST_F(SocketTest, TheChosenAddressIsNoWildcardAndFollowsSparkLocalIp) {
  const std::string chosen = local_endpoint("").text();
  EXPECT_NE(chosen, "0.0.0.0:0");
  setenv("SPARK_LOCAL_IP", "127.0.0.1", 1);
  EXPECT_EQ(local_endpoint("").text(), "127.0.0.1:0");
  setenv("SPARK_LOCAL_IP", "192.0.2.77", 1);
  EXPECT_EQ(local_endpoint("127.0.0.1").text(), "127.0.0.1:0");
}

TEST_F(SocketTest, AnInterfaceThatDoesNotExistIsRefusedWithThoseThatDo) {
  EXPECT_THAT(error_of([] { local_endpoint("no-such-device.invalid"); }),
              ::testing::AllOf(HasSubstr("'no-such-device.invalid'"), HasSubstr("lo 127.0.0.1")));
  EXPECT_THAT(error_of([] { local_endpoint("0.0.0.0"); }), HasSubstr("no address that other"));
  EXPECT_THAT(
      error_of([] {
        Communicator::listen({"192.0.2.200", "tcp"});
      }),
      ::testing::AllOf(HasSubstr("cannot listen at 192.0.2.200"), HasSubstr("lo 127.0.0.1")));
}

TEST_F(SocketTest, AGroupFormsOverIpv6AndOverTheChosenAddress) {
  bool has_v6 = true;
  try {
    Endpoint v6 = local_endpoint("::1");
    listen_at(v6);
  } catch (const Error&) {
    has_v6 = false;
  }
  for (const std::string interface : {"", "::1"}) {
    if (interface == "::1" && !has_v6) continue;
    GroupSetup setup;
    setup.listen.interface = interface;
    const auto errors = run_group(
        3,
        [&](Communicator& group) {
          if (interface == "::1") {
            EXPECT_THAT(group.address(), StartsWith("[::1]:"));
          }
          std::vector<float> data(100'000, 1.0F);
          group.allreduce_sum(data.data(), data.size());
          EXPECT_EQ(data.back(), 3.0F);
        },
        setup);
    EXPECT_THAT(errors, Each(IsEmpty()));
  }
}

}  // namespace
}  // namespace caffe

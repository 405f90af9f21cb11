// Ranks of one host find each other and share memory; strangers do not get any.
#include "collective/host_mates.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <future>
#include <string>

#include "collective/group.h"

namespace caffe {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

// How many pieces of memory for rings this process has mapped.
int mapped_rings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("memfd:caffe-rings") != std::string::npos;
  return count;
}

TEST(HostMates, AllRanksOfAHostShareMemoryInPairs) {
  for (const bool share : {true, false}) {
    GroupSetup setup;
    setup.change = [=](ConnectOptions& options) { options.share_memory = share; };
    const auto errors = run_group(
        3,
        [&](Communicator& group) {
          group.barrier();
          EXPECT_EQ(mapped_rings(), share ? 6 : 0);  // three pairs, both sides of each
          group.barrier();
        },
        setup);
    EXPECT_THAT(errors, Each(IsEmpty()));
    EXPECT_EQ(mapped_rings(), 0);
  }
}

TEST(HostMates, EncryptedGroupsShareNone) {
  GroupSetup setup;
  setup.change = [](ConnectOptions& options) { options.encrypt = true; };
  const auto errors = run_group(
      2, [](Communicator&) { EXPECT_EQ(mapped_rings(), 0); }, setup);
  EXPECT_THAT(errors, Each(IsEmpty()));
}

TEST(HostMates, RanksOfWhichOneSharesNoneRefuseEachOther) {
  GroupSetup setup;
  setup.change = [](ConnectOptions& options) { options.share_memory = options.rank == 0; };
  const auto errors = run_group(
      2, [](Communicator&) {}, setup);
  for (const std::string& error : errors)
    EXPECT_THAT(error, HasSubstr("'tcp without shared memory'"));
}

// Rank 0 in a thread of its own; the test is rank 1 and says what it likes.
class Meeting : public testing::Test {
 protected:
  void SetUp() override {
    int both[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both), 0);
    peer_ = Descriptor(both[1]);
    wiring_.world = 2;
    wiring_.streams.clear();
    wiring_.streams.resize(2);
    wiring_.streams[1].emplace_back(Descriptor(both[0]));
    wiring_.wake = wake_.descriptor();
    wiring_.timeout = std::chrono::seconds(20);
  }

  void begin() {
    met_ = std::async(std::launch::async, [this]() -> std::string {
      try {
        return meet_host_mates(wiring_)[1] ? "shared" : "alone";
      } catch (const Error& error) {
        return error.message();
      }
    });
  }
  std::string end() { return met_.get(); }

  void hear(void* data, size_t size) {
    timeval limit{20, 0};
    setsockopt(peer_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    fcntl(peer_.get(), F_SETFL, 0);
    ASSERT_EQ(recv(peer_.get(), data, size, MSG_WAITALL), static_cast<ssize_t>(size));
  }
  void say(bool what) { ASSERT_EQ(send(peer_.get(), &what, 1, 0), 1); }

  // Knocks at rank 0's door, whose name it has heard, with these bytes and perhaps with memory.
  Descriptor knock(const std::string& name, std::string bytes, const Descriptor& memory = {}) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
              0);
    iovec part{bytes.data(), bytes.size()};
    alignas(cmsghdr) char attached[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (memory) {
      message.msg_control = attached;
      message.msg_controllen = sizeof(attached);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      *header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
      const int fd = memory.get();
      std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    EXPECT_EQ(::sendmsg(socket.get(), &message, 0), static_cast<ssize_t>(bytes.size()));
    return socket;
  }

  Event wake_;
  Wiring wiring_;
  Descriptor peer_;
  std::future<std::string> met_;
};

TEST_F(Meeting, APeerElsewhereUsesItsSocket) {
  begin();
  char invitation[32];
  hear(invitation, sizeof(invitation));
  say(false);
  bool verdict = true;
  hear(&verdict, 1);
  EXPECT_FALSE(verdict);
  EXPECT_EQ(end(), "alone");
}

std::string offer_of(int rank, const std::string& proof) {
  return std::string(1, static_cast<char>(rank)) + std::string(3, '\0') + proof;
}

TEST_F(Meeting, OnlyAnOfferWithMemoryAndProofCounts) {
  const Descriptor memory = SharedRings::create();
  for (const bool honest : {false, true}) {
    SetUp();
    begin();
    char invitation[32];
    hear(invitation, sizeof(invitation));
    const std::string name(invitation, 16), proof(invitation + 16, 16);
    const Descriptor junk = knock(name, "hello");
    const Descriptor guess = knock(name, offer_of(1, std::string(16, 'x')), memory);
    const Descriptor other = knock(name, offer_of(7, proof), memory);
    const Descriptor empty = knock(name, offer_of(1, proof));
    Descriptor right;
    if (honest) right = knock(name, offer_of(1, proof), memory);
    say(true);
    uint8_t verdict = 2;
    hear(&verdict, 1);
    EXPECT_EQ(verdict, honest);
    EXPECT_EQ(end(), honest ? "shared" : "alone");
  }
}

TEST_F(Meeting, EndsWithItsPeerWithTheGroupAndInTime) {
  peer_.reset();
  begin();
  EXPECT_THAT(end(), HasSubstr("rank 1 closed its connection"));
  SetUp();
  wiring_.timeout = std::chrono::milliseconds(100);
  begin();
  EXPECT_THAT(end(), HasSubstr("rank 1 did not get on"));
  SetUp();
  wake_.signal();
  begin();
  EXPECT_THAT(end(), HasSubstr("the group ended"));
}

}  // namespace
}  // namespace caffe

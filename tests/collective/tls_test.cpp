// Groups whose connections are encrypted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

#include "collective/group.h"
#include "collective/stream.h"

namespace caffe {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

GroupSetup encrypted() {
  GroupSetup setup;
  setup.change = [](ConnectOptions& options) { options.encrypt = true; };
  return setup;
}

class Encrypted : public testing::TestWithParam<int> {};

TEST_P(Encrypted, GroupsDoWhatOthersDo) {
  const auto errors = run_group(
      GetParam(),
      [](Communicator& group) {
        for (const Wire wire : {Wire::kFloat32, Wire::kBf16}) {
          for (const size_t n : {size_t{0}, size_t{3}, size_t{4'000}, size_t{1'000'001}}) {
            std::vector<float> data(n, static_cast<float>(1 << group.rank()));
            group.allreduce_sum(data.data(), n, wire);
            ASSERT_THAT(data, Each(static_cast<float>((1 << group.world()) - 1)));
          }
        }
        std::string text(300'000, static_cast<char>('a' + group.rank()));
        group.broadcast(text.data(), text.size(), group.world() - 1);
        ASSERT_THAT(text, Each(static_cast<char>('a' + group.world() - 1)));
        ASSERT_EQ(group.allgather(std::string(50'000, 'x')).size(),
                  static_cast<size_t>(group.world()));
        group.barrier();
      },
      encrypted());
  EXPECT_THAT(errors, Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Worlds, Encrypted, testing::Values(1, 2, 3, 5));

TEST(EncryptedFailure, ReachesAllRanks) {
  const auto errors = run_group(
      3,
      [](Communicator& group) {
        std::vector<float> data(1'000'000);
        group.allreduce_sum(data.data(), data.size());
        if (group.rank() == 1) group.abort("the disk is full");
        group.allreduce_sum(data.data(), data.size());
      },
      encrypted());
  for (const std::string& error : errors) {
    EXPECT_THAT(error, HasSubstr("rank 1 (127.0.0.1:"));
    EXPECT_THAT(error, HasSubstr("aborted: the disk is full"));
  }
}

TEST(EncryptedFailure, RanksOfWhichOneDoesNotEncryptRefuseEachOther) {
  GroupSetup setup;
  setup.change = [](ConnectOptions& options) { options.encrypt = options.rank == 0; };
  const auto errors = run_group(
      2, [](Communicator&) {}, setup);
  for (const std::string& error : errors) EXPECT_THAT(error, HasSubstr("'tcp with TLS'"));
}

// Two ends of a connection on which nothing is said but by the sessions.
struct Pair {
  Pair() {
    int both[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    first = Descriptor(both[0]);
    second = Descriptor(both[1]);
  }
  Descriptor first, second;
};

// What both sides end with after at most `turns` turns.
std::pair<Shake, Shake> converse(ssl_st& a, ssl_st& b, int turns = 20) {
  Shake first = Shake::kGoingOn, second = Shake::kGoingOn;
  for (int turn = 0; turn < turns; ++turn) {
    if (first == Shake::kGoingOn) first = shake(a);
    if (second == Shake::kGoingOn) second = shake(b);
  }
  return {first, second};
}

TEST(Tls, StandsOnlyBetweenThoseWithOneSecretAndEpoch) {
  const std::string secret = "0123456789abcdef0123456789abcdef";
  const Tls mine(secret, "1");
  for (const bool same : {true, false}) {
    for (const bool secret_differs : {true, false}) {
      const Tls other(same || !secret_differs ? secret : secret + "!",
                      same || secret_differs ? "1" : "2");
      Pair pair;
      const TlsSession a = mine.begin(pair.first.get(), true);
      const TlsSession b = other.begin(pair.second.get(), false);
      const auto [first, second] = converse(*a, *b);
      EXPECT_EQ(first == Shake::kDone && second == Shake::kDone, same);
      if (!same) {
        EXPECT_EQ(second, Shake::kBroken);
      }
    }
  }
}

TEST(Tls, ShowsNothingOfWhatIsSent) {
  const Tls tls("0123456789abcdef0123456789abcdef", "1");
  Pair pair;
  TlsSession a = tls.begin(pair.first.get(), true), b = tls.begin(pair.second.get(), false);
  ASSERT_EQ(converse(*a, *b), std::make_pair(Shake::kDone, Shake::kDone));
  Stream sender(std::move(pair.first), std::move(a));
  const std::string text = "gradients gradients gradients";
  ASSERT_EQ(sender.send(text.data(), text.size()), static_cast<ssize_t>(text.size()));
  char wire[500];
  const ssize_t seen = recv(pair.second.get(), wire, sizeof(wire), MSG_PEEK);
  ASSERT_GT(seen, static_cast<ssize_t>(text.size()));
  EXPECT_EQ(std::string(wire, static_cast<size_t>(seen)).find("gradients"), std::string::npos);
  Stream receiver(std::move(pair.second), std::move(b));
  char got[500];
  ASSERT_EQ(receiver.receive(got, sizeof(got)), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(std::string(got, text.size()), text);
  EXPECT_EQ(receiver.receive(got, sizeof(got)), -1);
  EXPECT_EQ(errno, EAGAIN);
  sender.reset();
  EXPECT_EQ(receiver.receive(got, sizeof(got)), 0);
}

TEST(Tls, ChangesItsKeyInTime) {
  const Tls tls("0123456789abcdef0123456789abcdef", "1");
  Pair pair;
  TlsSession a = tls.begin(pair.first.get(), true), b = tls.begin(pair.second.get(), false);
  ASSERT_EQ(converse(*a, *b), std::make_pair(Shake::kDone, Shake::kDone));
  Stream sender(std::move(pair.first), std::move(a));
  Stream receiver(std::move(pair.second), std::move(b));
  for (int i = 0; i < 300'000; ++i) {
    const char out = static_cast<char>(i);
    char in = 0;
    ASSERT_EQ(sender.send(&out, 1), 1) << i;
    ssize_t got = receiver.receive(&in, 1);
    // The news of a key are a record of their own.
    if (got < 0 && errno == EAGAIN) got = receiver.receive(&in, 1);
    ASSERT_EQ(got, 1) << i;
    ASSERT_EQ(in, out);
  }
}

TEST(Tls, NoticesChangedBytes) {
  const Tls tls("0123456789abcdef0123456789abcdef", "1");
  Pair pair;
  TlsSession a = tls.begin(pair.first.get(), true), b = tls.begin(pair.second.get(), false);
  ASSERT_EQ(converse(*a, *b), std::make_pair(Shake::kDone, Shake::kDone));
  // Somebody in between: what the first says reaches the second with one bit changed.
  const int first = pair.first.get(), second = pair.second.get();
  Stream sender(std::move(pair.first), std::move(a));
  ASSERT_EQ(sender.send("gradients", 9), 9);
  char wire[500];
  const ssize_t size = recv(second, wire, sizeof(wire), 0);
  wire[size - 1] = static_cast<char>(wire[size - 1] ^ 1);
  ASSERT_EQ(::send(first, wire, static_cast<size_t>(size), 0), size);
  Stream receiver(std::move(pair.second), std::move(b));
  char got[500];
  EXPECT_EQ(receiver.receive(got, sizeof(got)), -1);
  EXPECT_EQ(errno, EPROTO);
}

}  // namespace
}  // namespace caffe

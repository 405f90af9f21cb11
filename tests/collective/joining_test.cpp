// Who is let into a group, and what both sides say where somebody is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "collective/rank_process.h"

namespace caffe {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr milliseconds kSoon{5000};
constexpr milliseconds kShortTimeout{1500};

// A connection as anybody on the network can make it.
Descriptor call(const std::string& address) {
  Descriptor caller = begin_connect(parse_endpoint(address));
  pollfd writable{caller.get(), POLLOUT, 0};
  poll(&writable, 1, 5000);
  return caller;
}

void say(const Descriptor& caller, const std::string& bytes) {
  ASSERT_EQ(send(caller.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// Three ranks of which one has been given something else. Which one: the highest only calls, the
// lowest only is called.
class Misfit : public testing::TestWithParam<int> {
 protected:
  Misfit() : group_(3) {}

  void connect(const std::function<void(ConnectOptions&)>& change) {
    group_.tell_connect([&](ConnectOptions& options) {
      options.timeout = kShortTimeout;
      if (options.rank == GetParam()) change(options);
    });
  }

  // Every rank says `what`; the misfit names one of the others, and they name the misfit.
  void expect_errors(const std::string& what) {
    for (int rank = 0; rank < 3; ++rank) {
      const std::string error = group_[rank].hear(kSoon);
      EXPECT_THAT(error, AllOf(StartsWith("ERROR 4 "), HasSubstr(what)));
      EXPECT_THAT(error, HasSubstr(group_.name(GetParam())));
      EXPECT_TRUE(group_[rank].alive());
    }
  }

  ProcessGroup group_;
};

TEST_P(Misfit, WithAnotherSecretIsRefused) {
  connect([](ConnectOptions& options) { options.secret = "a-secret-that-is-not-the-groups"; });
  expect_errors("the secrets differ");
}

TEST_P(Misfit, OfAnotherAttemptIsRefused) {
  connect([](ConnectOptions& options) { options.epoch = "attempt-0"; });
  for (int rank = 0; rank < 3; ++rank) {
    const std::string error = group_[rank].hear(kSoon);
    EXPECT_THAT(error, AllOf(HasSubstr("the epochs differ"), HasSubstr("'attempt-0'"),
                             HasSubstr("'attempt-1'"), HasSubstr(group_.name(GetParam()))));
  }
}

TEST_P(Misfit, WithAnotherConfigurationIsRefused) {
  connect([](ConnectOptions& options) { options.config_hash = 0xabc; });
  expect_errors("the configurations differ");
}

TEST_P(Misfit, WithAnotherWorldSizeIsRefused) {
  connect([](ConnectOptions& options) {
    options.world = 4;
    options.addresses.push_back("127.0.0.1:9");
  });
  expect_errors("the world sizes differ");
}

INSTANTIATE_TEST_SUITE_P(Rank, Misfit, testing::Values(0, 1, 2));

TEST(Joining, StrangersDoNotDisturbTheGroup) {
  ProcessGroup group(3);
  std::vector<Descriptor> strangers;
  for (int rank = 0; rank < 3; ++rank) {
    const std::string& address = group[rank].address();
    // More than may wait to prove themselves; they never say a word.
    for (int i = 0; i < 100; ++i) strangers.push_back(call(address));
    strangers.push_back(call(address));
    say(strangers.back(), "GET / HTTP/1.1\r\n\r\n");
    strangers.push_back(call(address));
    say(strangers.back(), std::string(100'000, '\xff'));
    // Begins well, then announces more than ever comes.
    strangers.push_back(call(address));
    say(strangers.back(), std::string("CFCO\x01\x00\x01\x00\xff\x03hello", 15));
    strangers.push_back(call(address));
    say(strangers.back(), "C");
    strangers.push_back(call(address));
    strangers.back().reset();
  }
  ASSERT_TRUE(group.connect());
  for (int rank = 0; rank < 3; ++rank) group[rank].tell("reduce 500000");
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(group[rank].hear(), "DONE");
}

TEST(Joining, NobodyCanConnectOnceTheGroupStands) {
  ProcessGroup group(2);
  ASSERT_TRUE(group.connect());
  Descriptor caller = call(group[0].address());
  int error = 0;
  socklen_t size = sizeof(error);
  if (caller) getsockopt(caller.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  EXPECT_TRUE(!caller || error == ECONNREFUSED);
}

TEST(Joining, ARankThatIsNotThereIsNamed) {
  ProcessGroup group(2);
  Endpoint nobody = local_endpoint("127.0.0.1");
  listen_at(nobody);  // closed at once: a port where nobody listens
  const std::string address = nobody.text();
  group.tell_connect([&](ConnectOptions& options) {
    options.world = 4;
    // The ranks 0 and 3 do not exist: one that is called and one that should call.
    options.rank += 1;
    options.addresses = {address, group[0].address(), group[1].address(), address};
    options.timeout = kShortTimeout;
  });
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(group[i].hear(kSoon),
                AllOf(StartsWith("ERROR 4 "), HasSubstr("not connected before the timeout"),
                      HasSubstr("rank 0 (" + address + "): cannot connect: Connection refused"),
                      HasSubstr("rank 3 (" + address + "): it has not called")));
  }
}

TEST(Joining, ARankThatGivesUpIsKnownToThoseWhoStillWait) {
  ProcessGroup group(3);
  for (int rank = 0; rank < 2; ++rank) {  // the third is not told to come
    ConnectOptions options = test_options(rank, 3);
    options.epoch = "attempt-1";
    for (int peer = 0; peer < 3; ++peer) options.addresses.push_back(group[peer].address());
    if (rank == 1) options.timeout = kShortTimeout;
    group[rank].tell(connect_line(options));
  }
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_THAT(group[rank].hear(kSoon),
                AllOf(StartsWith("ERROR 4 " + group.name(1) + " cannot form the group"),
                      HasSubstr(group.name(2) + ": it has not called")));
  }
}

TEST(Joining, AbortEndsConnecting) {
  for (const bool before : {true, false}) {
    Endpoint silent = local_endpoint("127.0.0.1");
    const Descriptor listener = listen_at(silent);
    auto group = Communicator::listen({"127.0.0.1", "tcp"});
    ConnectOptions options = test_options(1, 2);
    options.addresses = {silent.text(), group->address()};
    if (before) group->abort("the user said stop");
    auto end = std::async(std::launch::async, [&]() -> std::string {
      try {
        group->connect(options);
      } catch (const Error& error) {
        return error.message();
      }
      return "connected";
    });
    if (!before) {
      pollfd called{listener.get(), POLLIN, 0};
      ASSERT_EQ(poll(&called, 1, 5000), 1);  // it is in the middle of connecting
      group->abort("the user said stop");
    }
    ASSERT_EQ(end.wait_for(kSoon), std::future_status::ready);
    EXPECT_THAT(end.get(), HasSubstr("aborted: the user said stop"));
  }
}

TEST(Joining, BadOptionsAreRefusedBeforeAnythingTravels) {
  const auto connect = [](const std::function<void(ConnectOptions&)>& change) -> std::string {
    auto group = Communicator::listen({"127.0.0.1", "tcp"});
    ConnectOptions options = test_options(0, 2);
    options.addresses = {group->address(), group->address()};
    change(options);
    try {
      group->connect(options);
    } catch (const Error& error) {
      return error.message();
    }
    return "connected";
  };
  EXPECT_THAT(connect([](auto& o) { o.rank = 2; }), HasSubstr("rank 2 is not within a group of 2"));
  EXPECT_THAT(connect([](auto& o) { o.world = 3; }), HasSubstr("as many addresses, not 2"));
  EXPECT_THAT(connect([](auto& o) { o.secret = "short"; }), HasSubstr("at least 16"));
  EXPECT_THAT(connect([](auto& o) { o.epoch = std::string(256, 'e'); }), HasSubstr("at most 255"));
  EXPECT_THAT(connect([](auto& o) { o.addresses[1] = "nonsense"; }), HasSubstr("'nonsense'"));
  EXPECT_THAT(connect([](auto& o) { o.silence_limit = milliseconds(1); }), HasSubstr("twice"));
  EXPECT_THAT(connect([](auto& o) { o.timeout = milliseconds(0); }), HasSubstr("positive"));
}

}  // namespace
}  // namespace caffe

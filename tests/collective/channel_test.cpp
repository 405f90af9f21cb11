// A connection whose bytes go through shared memory, and whose socket is the bell.
#include "collective/channel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

namespace caffe {
namespace {

class Neighbours : public testing::Test {
 protected:
  void SetUp() override {
    int both[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both), 0);
    const Descriptor memory = SharedRings::create();
    first_.emplace(Stream(Descriptor(both[0])), SharedRings(memory, 0));
    second_.emplace(Stream(Descriptor(both[1])), SharedRings(memory, 1));
  }

  static ssize_t send(Channel& channel, const std::string& text) {
    const iovec part{const_cast<char*>(text.data()), text.size()};
    return channel.send(&part, 1);
  }
  static ssize_t receive(Channel& channel, std::string* text) {
    text->assign(100, '?');
    const iovec part{text->data(), text->size()};
    const ssize_t moved = channel.receive(&part, 1);
    text->resize(moved > 0 ? static_cast<size_t>(moved) : 0);
    return moved;
  }
  static bool readable(const Channel& channel) {
    pollfd item{channel.descriptor(), POLLIN, 0};
    return poll(&item, 1, 0) == 1;
  }

  std::optional<Channel> first_, second_;
};

TEST_F(Neighbours, RingTheBellForWhoRests) {
  std::string text;
  EXPECT_EQ(receive(*second_, &text), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(send(*first_, "a"), 1);
  EXPECT_FALSE(readable(*second_));  // nobody rests
  EXPECT_EQ(receive(*second_, &text), 1);
  EXPECT_EQ(second_->begin_wait(false, true), POLLIN);
  EXPECT_EQ(send(*first_, "b"), 1);
  EXPECT_TRUE(readable(*second_));
  second_->end_wait(POLLIN);
  EXPECT_FALSE(readable(*second_));  // the bell was heard
  EXPECT_EQ(second_->begin_wait(false, true), 0);
  second_->end_wait(0);
  EXPECT_EQ(receive(*second_, &text), 1);
  EXPECT_EQ(text, "b");
}

TEST_F(Neighbours, KeepWhatWasSentBeforeTheEnd) {
  EXPECT_EQ(second_->begin_wait(false, true), POLLIN);
  EXPECT_EQ(send(*first_, "last words"), 10);
  first_.reset();
  EXPECT_TRUE(readable(*second_));
  second_->end_wait(POLLIN);  // hears the bell
  second_->end_wait(POLLIN);  // and the end
  std::string text;
  EXPECT_EQ(receive(*second_, &text), 10);
  EXPECT_EQ(text, "last words");
  EXPECT_EQ(receive(*second_, &text), 0);
  EXPECT_EQ(second_->begin_wait(false, true), 0);  // there is nothing to wait for
}

TEST_F(Neighbours, CannotSendMoreThanAPeerThatIsGoneHasRoomFor) {
  first_.reset();
  EXPECT_EQ(second_->begin_wait(false, true), POLLIN);
  EXPECT_TRUE(readable(*second_));
  second_->end_wait(POLLHUP);
  const std::string text(100'000, 'x');
  ssize_t sent = 1;
  for (int turn = 0; turn < 100 && sent > 0; ++turn) sent = send(*second_, text);
  EXPECT_EQ(sent, -1);
  EXPECT_EQ(errno, EPIPE);
}

}  // namespace
}  // namespace caffe

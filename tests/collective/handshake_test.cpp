#include "collective/handshake.h"

#include <gtest/gtest.h>

#include <random>

namespace caffe {
namespace {

const std::string kSecret = "0123456789abcdef";

Identity identity(int rank) { return {rank, 4, 42, "attempt 1", "tcp"}; }

Handshake::Admit everybody() {
  return [](const Claim&) { return Verdict::kNone; };
}

// Carries what `from` has to say, `step` bytes at a time.
std::string carry(Handshake& from, Handshake& to, size_t step = 1000) {
  const std::string bytes = std::exchange(from.output(), "");
  for (size_t at = 0; at < bytes.size(); at += step) {
    to.feed(bytes.data() + at, std::min(step, bytes.size() - at));
  }
  return bytes;
}

void converse(Handshake& dialler, Handshake& acceptor, size_t step = 1000) {
  for (int turn = 0; turn < 3; ++turn) {
    carry(dialler, acceptor, step);
    carry(acceptor, dialler, step);
  }
}

TEST(Handshake, LetsInWhoKnowsTheSecretByteForByte) {
  for (const size_t step : {1, 7, 1000}) {
    auto dialler = Handshake::dial(identity(3), kSecret, 1, 1);
    auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
    converse(dialler, acceptor, step);
    EXPECT_TRUE(dialler.finished() && acceptor.finished());
    EXPECT_EQ(dialler.refusal(), Verdict::kNone);
    EXPECT_EQ(acceptor.refusal(), Verdict::kNone);
    EXPECT_TRUE(dialler.authentic() && acceptor.authentic());
    EXPECT_EQ(acceptor.claim().rank, 3);
    EXPECT_EQ(acceptor.claim().lane, 1);
    EXPECT_EQ(dialler.wanted(), 0U);
  }
}

TEST(Handshake, FindsEveryDifferenceOnBothSides) {
  const auto refusals = [](const Identity& self, const std::string& secret, int peer) {
    auto dialler = Handshake::dial(self, secret, peer, 0);
    auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
    converse(dialler, acceptor);
    EXPECT_EQ(dialler.refusal(), acceptor.refusal());
    return acceptor.refusal();
  };
  Identity other = identity(3);
  EXPECT_EQ(refusals(other, kSecret + "!", 1), Verdict::kSecret);
  EXPECT_EQ(refusals(other, kSecret, 2), Verdict::kRank);
  other.epoch = "attempt 0";
  other.world = 5;
  EXPECT_EQ(refusals(other, kSecret, 1), Verdict::kEpoch);
  other = identity(3);
  other.world = 5;
  EXPECT_EQ(refusals(other, kSecret, 1), Verdict::kWorld);
  other = identity(3);
  other.config_hash = 43;
  EXPECT_EQ(refusals(other, kSecret, 1), Verdict::kConfig);
  other = identity(3);
  other.transport = "ucx";
  EXPECT_EQ(refusals(other, kSecret, 1), Verdict::kTransport);
  EXPECT_EQ(refusals(identity(4), kSecret, 1), Verdict::kRank);
}

TEST(Handshake, TellsTheDiallerWhyItIsNotAdmitted) {
  auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
  auto acceptor =
      Handshake::accept(identity(1), kSecret, [](const Claim&) { return Verdict::kDuplicate; });
  converse(dialler, acceptor);
  EXPECT_EQ(dialler.refusal(), Verdict::kDuplicate);
}

TEST(Handshake, RefusesARecordingOfAnEarlierOne) {
  auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
  auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
  const std::string hello = carry(dialler, acceptor);
  carry(acceptor, dialler);
  const std::string proof = carry(dialler, acceptor);
  ASSERT_EQ(acceptor.refusal(), Verdict::kNone);
  auto second = Handshake::accept(identity(1), kSecret, everybody());
  second.feed(hello.data(), hello.size());
  second.feed(proof.data(), proof.size());
  EXPECT_TRUE(second.finished());
  EXPECT_EQ(second.refusal(), Verdict::kSecret);
}

TEST(Handshake, RefusesItsOwnWordsReflected) {
  // Who does not know the secret opens a second connection and answers with what comes from there.
  auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
  const std::string hello = std::exchange(dialler.output(), "");
  auto accomplice = Handshake::accept(identity(3), kSecret, everybody());
  accomplice.feed(hello.data(), hello.size());
  carry(accomplice, dialler);
  EXPECT_TRUE(dialler.finished());
  EXPECT_NE(dialler.refusal(), Verdict::kNone);
}

TEST(Handshake, NamesBothVersionsWhereTheyDiffer) {
  auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
  std::string hello = dialler.output();
  hello[4] = 7;
  auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
  acceptor.feed(hello.data(), hello.size());
  EXPECT_EQ(acceptor.refusal(), Verdict::kVersion);
  EXPECT_NE(acceptor.reason().find("1 here, 7 there"), std::string::npos);
  // Its answer lets the other side say the same.
  std::string answer = acceptor.output();
  answer[4] = 9;
  dialler.feed(answer.data(), answer.size());
  EXPECT_EQ(dialler.refusal(), Verdict::kVersion);
}

// Any changed byte, on either way, ends in a refusal on the side that reads it: never in a
// connection, never in a crash.
TEST(Handshake, NoticesEveryChangedByte) {
  for (int message = 0; message < 4; ++message) {
    size_t length = 1;
    for (size_t at = 0; at < length; ++at) {
      auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
      auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
      Handshake* sides[] = {&dialler, &acceptor};
      for (int turn = 0; turn < 4; ++turn) {
        Handshake& from = *sides[turn % 2];
        Handshake& to = *sides[1 - turn % 2];
        std::string bytes = std::exchange(from.output(), "");
        if (turn == message) {
          length = bytes.size();
          bytes[at] = static_cast<char>(bytes[at] ^ 0x21);
        }
        to.feed(bytes.data(), bytes.size());
      }
      const bool both = dialler.finished() && acceptor.finished() &&
                        dialler.refusal() == Verdict::kNone && acceptor.refusal() == Verdict::kNone;
      EXPECT_FALSE(both) << "message " << message << ", byte " << at;
    }
    EXPECT_GT(length, 10U);
  }
}

TEST(Handshake, SurvivesGarbage) {
  std::mt19937 random(7);
  const std::string hello = Handshake::dial(identity(3), kSecret, 1, 0).output();
  for (int round = 0; round < 20'000; ++round) {
    auto acceptor = Handshake::accept(identity(1), kSecret, everybody());
    auto dialler = Handshake::dial(identity(3), kSecret, 1, 0);
    // Half of them begin as a real message does; lengths and contents are anything.
    std::string bytes = round % 2 ? hello.substr(0, random() % hello.size()) : "";
    for (size_t more = random() % 1500; more > 0; --more) {
      bytes += static_cast<char>(random());
    }
    for (Handshake* side : {&acceptor, &dialler}) {
      for (size_t at = 0; at < bytes.size() && !side->finished();) {
        const size_t wanted = side->wanted();
        ASSERT_GT(wanted, 0U);
        ASSERT_LE(wanted, 1100U);
        const size_t step = std::min(wanted, bytes.size() - at);
        side->feed(bytes.data() + at, step);
        at += step;
      }
      ASSERT_FALSE(side->authentic());
      ASSERT_TRUE(!side->finished() || side->refusal() != Verdict::kNone);
      side->reason();
    }
  }
}

}  // namespace
}  // namespace caffe

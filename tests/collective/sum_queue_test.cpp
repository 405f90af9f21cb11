#include "collective/sum_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "collective/group.h"

namespace caffe {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

class Queued : public testing::TestWithParam<int> {};

TEST_P(Queued, SumsComeInOrderWhileTheCallerGoesOn) {
  const auto errors = run_group(GetParam(), [](Communicator& group) {
    SumQueue queue(group);
    const auto total = static_cast<float>(group.world() * (group.world() + 1) / 2);
    // Several rounds: the queue is empty in between.
    for (int round = 0; round < 3; ++round) {
      std::vector<std::vector<float>> data;
      std::vector<SumQueue::Ticket> tickets;
      for (const size_t n : {size_t{1}, size_t{300'000}, size_t{0}, size_t{70'001}}) {
        data.emplace_back(n, static_cast<float>(group.rank() + 1));
      }
      for (auto& values : data) {
        tickets.push_back(queue.push(values.data(), values.size(), Wire::kFloat32));
      }
      queue.wait(tickets[2]);
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.done(tickets[i]));
      queue.wait(tickets[3]);
      for (const auto& values : data) ASSERT_THAT(values, Each(total));
    }
    queue.drain();
  });
  EXPECT_THAT(errors, Each(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Worlds, Queued, testing::Values(1, 2, 3, 5));

TEST(SumQueue, AppliesWhatItIsGivenInItsOwnThread) {
  const auto errors = run_group(2, [](Communicator& group) {
    SumQueue queue(group);
    std::vector<float> data(200'000, 1.0f), results(data.size());
    std::vector<float> small(100, 1.0f);
    std::thread::id where;
    const Communicator::Apply apply = [&](size_t begin, size_t count) {
      where = std::this_thread::get_id();
      for (size_t i = begin; i < begin + count; ++i) results[i] = 10 * data[i];
    };
    // Between sums, whose memory is another.
    queue.push(small.data(), small.size(), Wire::kFloat32);
    const auto ticket = queue.push(data.data(), results.data(), data.size(), apply);
    queue.push(small.data(), small.size(), Wire::kFloat32);
    queue.wait(ticket);
    ASSERT_THAT(results, Each(20.0f));
    ASSERT_NE(where, std::this_thread::get_id());
    queue.wait(ticket + 1);
    ASSERT_THAT(small, Each(4.0f));
  });
  EXPECT_THAT(errors, Each(IsEmpty()));
}

TEST(SumQueue, PassesOnWhatEndedTheGroupAndLetsGoOfTheMemory) {
  const auto errors = run_group(3, [](Communicator& group) {
    SumQueue queue(group);
    std::vector<float> data(1'000'000, 1.0f);
    const SumQueue::Ticket first = queue.push(data.data(), data.size(), Wire::kFloat32);
    queue.wait(first);
    if (group.rank() == 1) group.abort("the disk is full");
    // Neither can come to its end; the second one is never begun.
    try {
      const SumQueue::Ticket second = queue.push(data.data(), data.size(), Wire::kFloat32);
      queue.push(data.data(), data.size(), Wire::kFloat32);
      queue.wait(second);
      queue.wait(second + 1);
    } catch (const Error&) {
      queue.drain();
      std::fill(data.begin(), data.end(), 0.0f);
      throw;
    }
  });
  for (const std::string& error : errors) {
    EXPECT_THAT(error, HasSubstr("rank 1 (127.0.0.1:"));
    EXPECT_THAT(error, HasSubstr("aborted: the disk is full"));
  }
}

// In the middle, where a part is applied, one rank ends the group.
TEST(SumQueue, LetsGoOfResultsAndWhatIsAppliedWhereTheGroupEnds) {
  const auto errors = run_group(2, [](Communicator& group) {
    SumQueue queue(group);
    std::vector<float> data(2'000'000, 1.0f);
    auto results = std::make_unique<std::vector<float>>(data.size());
    int pieces = 0;
    auto apply = std::make_unique<Communicator::Apply>([&](size_t begin, size_t count) {
      std::fill_n(results->begin() + static_cast<long>(begin), count, 2.0f);
      if (++pieces == 2 && group.rank() == 1) group.abort("the disk is full");
    });
    try {
      const auto ticket = queue.push(data.data(), results->data(), data.size(), *apply);
      queue.push(data.data(), results->data(), data.size(), *apply);
      queue.wait(ticket + 1);
    } catch (const Error&) {
      queue.drain();
      apply.reset();
      results.reset();
      throw;
    }
  });
  EXPECT_THAT(errors, Each(HasSubstr("aborted: the disk is full")));
}

TEST(SumQueue, IsDeadAfterAnError) {
  auto group = Communicator::listen({"127.0.0.1", "tcp"});
  ConnectOptions options = test_options(0, 1);
  options.addresses = {group->address()};
  group->connect(options);
  SumQueue queue(*group);
  group->abort("stop");
  float value = 1;
  for (int again = 0; again < 2; ++again) {
    EXPECT_THROW(queue.wait(queue.push(&value, 1, Wire::kFloat32)), Error);
  }
  queue.drain();
}

}  // namespace
}  // namespace caffe

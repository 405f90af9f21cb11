#include "data/batch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <numeric>
#include <set>

#include "data/permutation.h"

namespace caffe {
namespace {

// Records of 1 x 2 x 3 bytes whose first byte and label tell their number.
class FakeSource final : public RecordSource {
 public:
  explicit FakeSource(int count) : RecordSource("fake_lmdb") {
    for (int i = 0; i < count; ++i) set(i, 1, 2, 3);
  }

  void set(int index, int channels, int height, int width) {
    Datum datum;
    datum.set_channels(channels);
    datum.set_height(height);
    datum.set_width(width);
    datum.set_label(index);
    datum.set_data(
        std::string(static_cast<size_t>(channels) * height * width, static_cast<char>(index)));
    records_[index] = {"key" + std::to_string(index), datum.SerializeAsString()};
  }
  void set_value(int index, const std::string& value) { records_[index].second = value; }

  int64_t size() const override { return static_cast<int64_t>(records_.size()); }
  Record read(int64_t index) const override {
    ++reads;
    const auto& [key, value] = records_.at(static_cast<int>(index));
    return {key, value};
  }
  mutable std::atomic<int> reads{0};

 private:
  std::map<int, std::pair<std::string, std::string>> records_;
};

std::shared_ptr<Transformer> plain() {
  return std::make_shared<Transformer>(TransformationParameter(), TRAIN, 1, "data");
}

// All positions and records of the batches, checked against data and labels.
std::vector<std::pair<int64_t, int64_t>> drain(BatchLoader& loader, int batches) {
  std::vector<std::pair<int64_t, int64_t>> seen;
  Batch batch;
  for (int k = 0; k < batches && loader.next(batch); ++k) {
    EXPECT_EQ(batch.shape[0], batch.rows());
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const auto at = static_cast<size_t>(row);
      seen.emplace_back(batch.positions[at], batch.records[at]);
      EXPECT_EQ(batch.labels[at], static_cast<float>(batch.records[at]));
      for (int64_t i = 0; i < 6; ++i)
        EXPECT_EQ(batch.data.data()[row * 6 + i], static_cast<float>(batch.records[at]));
    }
  }
  return seen;
}

template <typename Work>
Error error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::kInternal, "");
}

TEST(BatchLoader, GivesBatchesInOrderAndRunsOnAcrossTheEnd) {
  for (const int threads : {1, 2, 5}) {
    for (const int prefetch : {1, 4}) {
      BatchLoader loader(std::make_shared<FakeSource>(7), plain(), training_schedule(0, 1, 4),
                         {.threads = threads, .prefetch = prefetch});
      const auto seen = drain(loader, 50);
      ASSERT_EQ(seen.size(), 200u);
      for (int64_t i = 0; i < 200; ++i)
        EXPECT_EQ(seen[static_cast<size_t>(i)], std::make_pair(i, i % 7));
    }
  }
}

TEST(BatchLoader, RanksTogetherConsumeEachPositionOnce) {
  const auto source = std::make_shared<FakeSource>(10);
  std::map<int64_t, int64_t> all;
  for (int rank = 0; rank < 3; ++rank) {
    BatchLoader loader(source, plain(), training_schedule(rank, 3, 4),
                       {.shuffle = true, .seed = 5});
    for (const auto& [position, record] : drain(loader, 5)) {
      EXPECT_EQ(position % 3, rank);
      EXPECT_TRUE(all.emplace(position, record).second);
    }
  }
  ASSERT_EQ(all.size(), 60u);
  EXPECT_EQ(all.rbegin()->first, 59);
  for (int64_t epoch = 0; epoch < 6;
       ++epoch) {  // each epoch a permutation, and not always the same
    std::set<int64_t> records;
    for (int64_t i = 0; i < 10; ++i) records.insert(all[epoch * 10 + i]);
    EXPECT_EQ(records.size(), 10u);
  }
  int repeated = 0;
  for (int64_t i = 0; i < 10; ++i) repeated += all[i] == all[10 + i];
  EXPECT_LT(repeated, 10);
}

TEST(BatchLoader, AnExactRangeEndsWithASmallerBatch) {
  BatchLoader loader(std::make_shared<FakeSource>(10), plain(), range_schedule(3, 10, 3),
                     {.threads = 2});
  Batch batch;
  std::vector<int64_t> rows, records;
  while (loader.next(batch)) {
    rows.push_back(batch.rows());
    records.insert(records.end(), batch.records.begin(), batch.records.end());
  }
  EXPECT_EQ(rows, (std::vector<int64_t>{3, 3, 1}));
  EXPECT_EQ(records, (std::vector<int64_t>{3, 4, 5, 6, 7, 8, 9}));
  EXPECT_FALSE(loader.next(batch));
}

TEST(BatchLoader, RecyclesTheMemoryOfBatches) {
  BatchLoader loader(std::make_shared<FakeSource>(7), plain(), training_schedule(0, 1, 4),
                     {.prefetch = 3});
  Batch batch;
  std::set<const float*> seen;
  for (int k = 0; k < 100; ++k) {
    ASSERT_TRUE(loader.next(batch));
    seen.insert(batch.data.data());
  }
  EXPECT_LE(seen.size(), 5u);
}

TEST(BatchLoader, ARecordOfAnotherSizeIsNamedWithBothShapes) {
  const auto source = std::make_shared<FakeSource>(20);
  source->set(9, 1, 3, 2);
  BatchLoader loader(source, plain(), training_schedule(0, 1, 4), {.threads = 2});
  Batch batch;
  EXPECT_TRUE(loader.next(batch));
  EXPECT_TRUE(loader.next(batch));
  for (int again = 0; again < 2; ++again) {
    const Error error = error_of([&] { loader.next(batch); });
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_THAT(error.message(),
                ::testing::HasSubstr("record 'key9' (number 9) of fake_lmdb gives 1 x 3 x 2"));
    EXPECT_THAT(error.message(), ::testing::HasSubstr("gave 1 x 2 x 3"));
  }
}

TEST(BatchLoader, AnErrorComesWhenItsBatchIsDueAndNamesTheRecord) {
  const auto source = std::make_shared<FakeSource>(20);
  source->set_value(12, "\xff\xff");  // the first of its batch
  BatchLoader loader(source, plain(), training_schedule(0, 1, 4), {.threads = 3});
  Batch batch;
  for (int k = 0; k < 3; ++k) EXPECT_TRUE(loader.next(batch));
  EXPECT_THAT(error_of([&] { loader.next(batch); }).message(),
              ::testing::StartsWith("record 'key12' (number 12) of fake_lmdb is no Datum"));
}

TEST(BatchLoader, EachBatchIsShapedByItsFirstRecord) {
  const auto source = std::make_shared<FakeSource>(8);
  for (int i = 4; i < 8; ++i) source->set(i, 3, 5, 4);
  BatchLoader loader(source, plain(), training_schedule(0, 1, 4), {.threads = 2});
  Batch batch;
  for (int k = 0; k < 6; ++k) {
    ASSERT_TRUE(loader.next(batch));
    EXPECT_EQ(batch.shape, k % 2 == 0 ? Shape({4, 1, 2, 3}) : Shape({4, 3, 5, 4}));
    EXPECT_EQ(batch.data.size(), batch.shape.count());
  }
}

// Holds every reader until it is released.
class StuckSource final : public RecordSource {
 public:
  StuckSource() : RecordSource("stuck") {}
  int64_t size() const override { return 1; }
  Record read(int64_t) const override {
    reading.set_value();
    released.wait();
    return {"key", ""};
  }
  mutable std::promise<void> reading;
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
};

TEST(BatchLoader, CancelEndsANextThatWaitsForAStuckRead) {
  const auto source = std::make_shared<StuckSource>();
  BatchLoader loader(source, plain(), range_schedule(0, 1, 1), {});
  auto waiting = std::async(std::launch::async, [&] {
    Batch batch;
    return error_of([&] { loader.next(batch); }).code();
  });
  EXPECT_EQ(source->reading.get_future().wait_for(std::chrono::seconds(20)),
            std::future_status::ready);
  loader.cancel();
  const bool ended = waiting.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  source->release.set_value();
  EXPECT_TRUE(ended);
  EXPECT_EQ(waiting.get(), ErrorCode::kCancelled);
}

TEST(BatchLoader, AfterCancelNextAlwaysThrows) {
  BatchLoader loader(std::make_shared<FakeSource>(4), plain(), training_schedule(0, 1, 4),
                     {.threads = 2});
  loader.cancel();
  Batch batch;
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(error_of([&] { loader.next(batch); }).code(), ErrorCode::kCancelled);
  }
}

TEST(BatchLoader, AnErrorOfTheScheduleIsThrownByNext) {
  BatchLoader loader(std::make_shared<FakeSource>(4), plain(),
                     [](int64_t k) -> BatchRange {
                       if (k == 2) fail(ErrorCode::kIo, "no more");
                       return {0, 1, 4};
                     },
                     {});
  Batch batch;
  EXPECT_TRUE(loader.next(batch));
  EXPECT_TRUE(loader.next(batch));
  EXPECT_EQ(error_of([&] { loader.next(batch); }).message(), "no more");
}

TEST(BatchLoader, DestructionDoesNotWaitForBatchesNobodyWants) {
  const auto source = std::make_shared<FakeSource>(4);
  for (int i = 0; i < 50; ++i) {
    BatchLoader loader(source, plain(), training_schedule(0, 1, 1000), {.threads = 3});
    if (i % 2 == 0) {
      Batch batch;
      loader.next(batch);
    }
  }
}

TEST(Schedules, TrainingGivesEachRankItsResidues) {
  const BatchSchedule schedule = training_schedule(1, 3, 4, 24);
  EXPECT_EQ(schedule(0).first, 25);
  EXPECT_EQ(schedule(2).first, 24 + 2 * 12 + 1);
  EXPECT_EQ(schedule(2).stride, 3);
  EXPECT_EQ(schedule(2).count, 4);
}

TEST(Schedules, ValidationRoundsAreSharedAndRunOn) {
  for (const int ranks : {1, 2, 3, 7}) {
    const int64_t test_iter = 5, batch = 2, rounds = 3;
    std::vector<int> seen(static_cast<size_t>(test_iter * batch * rounds));
    for (int rank = 0; rank < ranks; ++rank) {
      const BatchSchedule schedule = validation_schedule(rank, ranks, batch, test_iter);
      const int64_t share = (test_iter - rank + ranks - 1) / ranks;
      EXPECT_EQ(schedule(0).count, share <= 0 ? 0 : batch);
      for (int64_t k = 0; k < share * rounds; ++k) {
        const BatchRange range = schedule(k);
        EXPECT_EQ(range.first / batch / test_iter, k / share) << "the round of a batch";
        for (int64_t i = 0; i < range.count; ++i)
          ++seen.at(static_cast<size_t>(range.first + i * range.stride));
      }
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), test_iter * batch * rounds);
  }
}

TEST(Permutation, IsOneForEverySize) {
  for (const int64_t size :
       {1, 2, 3, 5, 63, 64, 65, 100, 255, 256, 257, 1000, 4097, 60000, 100003}) {
    for (const uint64_t epoch : {0, 1}) {
      const Permutation permutation(3, epoch, size);
      std::vector<bool> hit(static_cast<size_t>(size));
      for (int64_t i = 0; i < size; ++i) {
        const int64_t to = permutation(i);
        ASSERT_TRUE(to >= 0 && to < size);
        ASSERT_FALSE(hit[static_cast<size_t>(to)]);
        hit[static_cast<size_t>(to)] = true;
      }
    }
  }
  const Permutation huge(1, 2, int64_t{1} << 40);
  EXPECT_LT(huge((int64_t{1} << 40) - 1), int64_t{1} << 40);
}

TEST(Permutation, IsAFunctionOfSeedEpochAndSize) {
  const auto list = [](uint64_t seed, uint64_t epoch) {
    std::vector<int64_t> values;
    for (int64_t i = 0; i < 100; ++i) values.push_back(Permutation(seed, epoch, 100)(i));
    return values;
  };
  EXPECT_EQ(list(1, 1), list(1, 1));
  EXPECT_NE(list(1, 1), list(1, 2));
  EXPECT_NE(list(1, 1), list(2, 1));
}

TEST(Permutation, IsEvenlySpread) {
  // Chi-square over where index 0 goes and over all 24 orders of 4; bounds are the 1e-6 quantiles.
  std::vector<int> places(10), orders(256);
  for (uint64_t epoch = 0; epoch < 24000; ++epoch) {
    ++places[static_cast<size_t>(Permutation(1, epoch, 10)(0))];
    const Permutation four(2, epoch, 4);
    ++orders[static_cast<size_t>(four(0) * 64 + four(1) * 16 + four(2) * 4 + four(3))];
  }
  double chi = 0;
  for (const int count : places) chi += (count - 2400.0) * (count - 2400.0) / 2400.0;
  EXPECT_LT(chi, 46);
  chi = 0;
  int kinds = 0;
  for (const int count : orders) {
    if (count == 0) continue;
    ++kinds;
    chi += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  EXPECT_EQ(kinds, 24);
  EXPECT_LT(chi, 72);
}

}  // namespace
}  // namespace caffe

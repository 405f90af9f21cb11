#include <gtest/gtest.h>

#include <cmath>

#include "engine/layers/layer_fixture.h"

namespace caffe::testing {
namespace {

constexpr int64_t kBatch = 6;
constexpr int64_t kRow = 103;

RunContext training(int64_t pass = 0, int rank = 0, int world = 1, uint64_t seed = 3) {
  RunContext run;
  run.phase = TRAIN;
  run.seed = seed;
  run.pass = pass;
  run.rank = rank;
  run.world = world;
  return run;
}

// What a batch of ones becomes.
std::vector<float> dropped(const RunContext& run, int64_t batch = kBatch,
                           const std::string& name = "drop") {
  LayerFixture f("name: '" + name +
                     "' type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: 0.25 }",
                 run);
  f.bottom_shaped("x", {batch, kRow});
  f.set_up();
  set_data<float>(f.blob("x"), std::vector<float>(static_cast<size_t>(batch * kRow), 1));
  f.forward();
  return data_of<float>(f.blob("y"));
}

std::vector<float> row(const std::vector<float>& values, int64_t index) {
  return {values.begin() + index * kRow, values.begin() + (index + 1) * kRow};
}

TEST(Dropout, RowsOfTwoWorkersInterleaveToThoseOfOne) {
  const std::vector<float> one = dropped(training(4, 0, 1), 2 * kBatch);
  for (int rank = 0; rank < 2; ++rank) {
    const std::vector<float> mine = dropped(training(4, rank, 2));
    for (int64_t i = 0; i < kBatch; ++i)
      EXPECT_EQ(row(mine, i), row(one, 2 * i + rank)) << rank << " " << i;
  }
}

TEST(Dropout, SmallerBatchesDropTheSame) {
  const std::vector<float> one = dropped(training(1), kBatch);
  const std::vector<float> first = dropped(training(2), kBatch / 2);
  const std::vector<float> second = dropped(training(3), kBatch / 2);
  for (int64_t i = 0; i < kBatch / 2; ++i) {
    EXPECT_EQ(row(first, i), row(one, i));
    EXPECT_EQ(row(second, i), row(one, i + kBatch / 2));
  }
}

TEST(Dropout, RestartedRunDropsTheSame) { EXPECT_EQ(dropped(training(7)), dropped(training(7))); }

TEST(Dropout, PassesRowsLayersAndSeedsDiffer) {
  const std::vector<float> first = dropped(training(0));
  EXPECT_NE(first, dropped(training(1)));
  EXPECT_NE(first, dropped(training(0, 0, 1, 4)));
  EXPECT_NE(first, dropped(training(0), kBatch, "another"));
  for (int64_t i = 1; i < kBatch; ++i) EXPECT_NE(row(first, 0), row(first, i));
}

TEST(Dropout, KeepsTheGivenShareAndTheMean) {
  constexpr int64_t kRows = 1000;
  const std::vector<float> values = dropped(training(), kRows);
  double zeros = 0;
  for (const float value : values) {
    zeros += value == 0;
    ASSERT_TRUE(value == 0 || value == 1 / 0.75f) << value;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(zeros / n, 0.25, 5 * std::sqrt(0.25 * 0.75 / n));
}

TEST(Dropout, BackwardUsesTheMaskOfForwardThoughThePassMovedOn) {
  LayerFixture f("name: 'drop' type: 'Dropout' bottom: 'x' top: 'x'", training());
  f.bottom_shaped("x", {kBatch, kRow});
  f.set_up();
  const std::vector<float> ones(static_cast<size_t>(kBatch * kRow), 1);
  set_data<float>(f.blob("x"), ones);
  f.forward();
  f.context.pass = 1;
  set_diff<float>(f.blob("x"), ones);
  f.backward();
  EXPECT_EQ(diff_of<float>(f.blob("x")), data_of<float>(f.blob("x")));
}

TEST(Dropout, RatioZeroKeepsAllAndTestingIsIdentity) {
  LayerFixture f(
      "name: 'drop' type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: 0 }",
      training());
  f.bottom_shaped("x", {2, 3});
  f.set_up();
  const std::vector<float> values = {1, -2, 3, -4, 5, -6};
  set_data<float>(f.blob("x"), values);
  f.forward();
  EXPECT_EQ(data_of<float>(f.blob("y")), values);

  RunContext testing;
  LayerFixture t("name: 'drop' type: 'Dropout' bottom: 'x' top: 'y'", testing);
  t.bottom_shaped("x", {2, 3});
  t.set_up();
  set_data<float>(t.blob("x"), values);
  t.forward();
  EXPECT_EQ(data_of<float>(t.blob("y")), values);
}

}  // namespace
}  // namespace caffe::testing

#include "layers/filler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "engine/layers/layer_fixture.h"
#include "support/json.h"
#include "support/npz.h"

namespace caffe::testing {
namespace {

// Sizes of a large sample of numbers, as data/fillers_statistics.json gives them for Caffe.
struct Statistics {
  double mean = 0;
  double deviation = 0;
  double least = 0;
  double most = 0;
  double zeros = 0;
  double kurtosis = 0;
  double least_row = 0;
  double most_row = 0;
};

Statistics describe(const std::vector<float>& values, size_t row) {
  Statistics s;
  const auto n = static_cast<double>(values.size());
  s.least = s.most = values[0];
  for (const float v : values) {
    s.mean += v / n;
    s.least = std::min<double>(s.least, v);
    s.most = std::max<double>(s.most, v);
    s.zeros += (v == 0) / n;
  }
  double second = 0;
  double fourth = 0;
  for (const float v : values) {
    const double square = (v - s.mean) * (v - s.mean);
    second += square / n;
    fourth += square * square / n;
  }
  s.deviation = std::sqrt(second);
  s.kurtosis = s.least < s.most ? fourth / (second * second) : 0;
  for (size_t first = 0; first < values.size(); first += row) {
    const double total = std::accumulate(values.begin() + first, values.begin() + first + row, 0.0);
    s.least_row = first == 0 ? total : std::min(s.least_row, total);
    s.most_row = first == 0 ? total : std::max(s.most_row, total);
  }
  return s;
}

std::vector<float> filled(const std::string& param, const Shape& shape, uint64_t key) {
  Blob blob(shape);
  fill(parse_text<FillerParameter>(param), key, blob);
  return data_of<float>(blob);
}

TEST(Filler, HasTheStatisticsOfCaffes) {
  std::ifstream file(CAFFE_SOURCE_DIR "/tests/golden/data/fillers_statistics.json");
  std::stringstream text;
  text << file.rdbuf();
  const JsonValue statistics = parse_json(text.str());
  int compared = 0;
  for (const JsonValue& entry : statistics.list_value().values()) {
    const auto number = [&](const char* name) { return member(entry, name).number_value(); };
    const std::string param = member(entry, "filler").string_value();
    SCOPED_TRACE(param);
    Shape shape;
    for (const JsonValue& dim : member(entry, "shape").list_value().values()) {
      shape.push_back(static_cast<int64_t>(dim.number_value()));
    }
    std::vector<float> values;
    for (uint64_t draw = 0; draw < 3; ++draw) {
      const std::vector<float> more = filled(param, shape, random_key(5, param, draw));
      values.insert(values.end(), more.begin(), more.end());
    }
    const Statistics found = describe(values, static_cast<size_t>(shape.count(1)));
    // Both sides are samples: six standard deviations of the difference of two.
    const double n = static_cast<double>(values.size());
    const double deviation = number("std");
    const double bound = 6 * std::sqrt(2 / n);
    const double zeros = number("zero_fraction");
    EXPECT_NEAR(found.mean, number("mean"), bound * deviation + 1e-6);
    const double excess = std::max(number("kurtosis") - 1, 0.0);
    EXPECT_NEAR(found.deviation, deviation, bound * deviation * std::sqrt(excess) / 2 + 1e-7);
    EXPECT_NEAR(found.zeros, zeros, bound * std::sqrt(zeros * (1 - zeros)));
    EXPECT_NEAR(found.kurtosis, number("kurtosis"),
                0.03 * std::max(number("kurtosis"), 1.0) + 0.05);
    // Only a uniform distribution has sharp ends.
    if (param.find("uniform") != std::string::npos || param.find("xavier") != std::string::npos) {
      EXPECT_NEAR(found.least, number("min"), 0.02 * deviation);
      EXPECT_NEAR(found.most, number("max"), 0.02 * deviation);
    }
    const bool rows_are_one = param.find("unitball") != std::string::npos;
    if (rows_are_one) {
      EXPECT_NEAR(found.least_row, 1, 1e-5);
      EXPECT_NEAR(found.most_row, 1, 1e-5);
    }
    ++compared;
  }
  EXPECT_EQ(compared, 14);
}

TEST(Filler, ConstantIsExact) {
  for (const float value : filled("value: -2.5", {3, 4}, 1)) EXPECT_EQ(value, -2.5f);
  for (const float value : filled("", {3, 4}, 1)) EXPECT_EQ(value, 0);
}

TEST(Filler, DependsOnKeyAndShapeOnly) {
  const Shape shape{300, 100};
  EXPECT_EQ(filled("type: 'xavier'", shape, 9), filled("type: 'xavier'", shape, 9));
  EXPECT_NE(filled("type: 'xavier'", shape, 9), filled("type: 'xavier'", shape, 10));
  // No piece of the sequence is repeated.
  const std::vector<float> values = filled("type: 'gaussian'", shape, 9);
  for (size_t lag = 4096; lag < values.size(); lag += 4096) EXPECT_NE(values[0], values[lag]);
}

TEST(Filler, DoublesAreFilledToo) {
  Blob blob({50, 4}, DType::kF64);
  fill(parse_text<FillerParameter>("type: 'uniform' min: 2 max: 3"), 1, blob);
  EXPECT_THAT(data_of<double>(blob),
              ::testing::Each(::testing::AllOf(::testing::Ge(2.0), ::testing::Lt(3.0))));
}

TEST(Filler, WorksForScalarsAndEmptyBlobs) {
  for (const char* type :
       {"constant", "uniform", "gaussian", "xavier", "msra", "positive_unitball"}) {
    EXPECT_EQ(filled(concat("type: '", type, "'"), Shape(), 1).size(), 1u);
    EXPECT_EQ(filled(concat("type: '", type, "'"), {0, 3}, 1).size(), 0u);
  }
}

TEST(Filler, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(error_of([] { filled("type: 'foo'", {2}, 1); }),
            "Unknown filler type: foo (known types: bilinear, constant, gaussian, msra, "
            "positive_unitball, uniform, "
            "xavier)");
  EXPECT_THAT(error_of([] { filled("type: 'uniform' sparse: 3", {2}, 1); }),
              ::testing::HasSubstr("sparse"));
  EXPECT_THAT(error_of([] {
                filled("type: 'bilinear'", {2, 2}, 1);
              }),
              ::testing::HasSubstr("4 axes"));
  EXPECT_THAT(error_of([] { filled("type: 'uniform' min: 2", {2}, 1); }),
              ::testing::HasSubstr("min 2"));
  EXPECT_THAT(error_of([] { filled("type: 'gaussian' std: -1", {2}, 1); }),
              ::testing::HasSubstr("std -1"));
  EXPECT_THAT(error_of([] { filled("type: 'gaussian' std: 0", {2}, 1); }),
              ::testing::HasSubstr("use type constant"));
}

}  // namespace
}  // namespace caffe::testing

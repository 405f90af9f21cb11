// MemoryData and CoSData layers that read files of rows.
#include <gmock/gmock.h>

#include <set>

#include "data/datum.h"
#include "engine/layers/layer_fixture.h"
#include "support/compare.h"
#include "support/rows.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void next_batch(LayerFixture& f) {
  with_label(*f.layer, [&] { f.layer->prepare(f.top); });
  f.forward();
}

// Ranks' shares of an LMDB as files of rows; those of rank r are r, r + ranks, ...
std::string share(const Scratch& scratch, const std::string& lmdb, int rank, int ranks) {
  const auto records = open_records("LMDB", lmdb);
  std::vector<std::string> rows;
  for (int64_t i = rank; i < records->size(); i += ranks) {
    const DatumView datum = parse_datum(records->read(i), "");
    rows.push_back(field(1, 1, 28, 28, std::string(datum.data)) +
                   floats_field({static_cast<float>(datum.label)}));
  }
  return write_rows(scratch.path(concat(rank, ".rows")), rows);
}

TEST(MemoryDataRows, GiveWhatTheDataLayerGivesOfAnLmdbToEveryRank) {
  const Scratch scratch;
  const std::string lmdb = scratch.golden("formats/train_lmdb");
  const std::string common =
      "name: 'mnist' top: 'data' top: 'label' transform_param { scale: 0.5 crop_size: 20 mirror: "
      "true mean_value: 3 } ";
  for (int rank = 0; rank < 2; ++rank) {
    RunContext run;
    run.phase = TRAIN;
    run.seed = 5;
    run.rank = rank;
    run.world = 2;
    LayerFixture stored(
        common + "type: 'Data' data_param { batch_size: 7 backend: LMDB source: '" + lmdb + "' }",
        run);
    LayerFixture fed(common +
                         "type: 'MemoryData' memory_data_param { batch_size: 7 channels: 1 "
                         "height: 20 width: 20 source: '" +
                         share(scratch, lmdb, rank, 2) + "' }",
                     run);
    stored.set_up();
    fed.set_up();
    EXPECT_EQ(fed.blob("data").shape(), stored.blob("data").shape());
    EXPECT_EQ(fed.blob("label").shape(), stored.blob("label").shape());
    for (int i = 0; i < 20; ++i) {  // more than two epochs of 60 records
      next_batch(stored);
      next_batch(fed);
      ASSERT_EQ(data_of<float>(fed.blob("data")), data_of<float>(stored.blob("data"))) << i;
      ASSERT_EQ(data_of<float>(fed.blob("label")), data_of<float>(stored.blob("label"))) << i;
    }
  }
}

const char* const kTops =
    "name: 'cos' type: 'CoSData' top: 'image' top: 'label' top: 'words' cos_data_param { "
    "batch_size: 2 "
    "top { name: 'image' type: RAW_IMAGE channels: 3 height: 1 width: 2 transform_param { scale: 2 "
    "} } "
    "top { name: 'label' type: FLOAT sample_num_axes: 0 } "
    "top { name: 'words' type: INT_ARRAY channels: 3 sample_num_axes: 1 transpose: true } ";

std::vector<std::string> three_rows() {
  std::vector<std::string> rows;
  for (const float i : {0.0f, 1.0f, 2.0f}) {
    const auto byte = static_cast<char>(i);
    rows.push_back(field(1, 3, 1, 2, {byte, 10, 20, byte, 11, 21}) + floats_field({i / 2}) +
                   floats_field({i, i + 10, i + 20}));
  }
  return rows;
}

TEST(CoSData, GivesEachTopItsFieldTransformedAndTransposed) {
  const Scratch scratch;
  LayerFixture f(std::string(kTops) + "source: '" + write_rows(scratch.path("rows"), three_rows()) +
                 "' }");
  f.set_up();
  EXPECT_EQ(f.blob("image").shape(), Shape({2, 3, 1, 2}));
  EXPECT_EQ(f.blob("label").shape(), Shape({2}));
  EXPECT_EQ(f.blob("words").shape(), Shape({3, 2}));
  next_batch(f);
  EXPECT_EQ(data_of<float>(f.blob("image")),
            (std::vector<float>{0, 0, 20, 22, 40, 42, 2, 2, 20, 22, 40, 42}));
  EXPECT_EQ(data_of<float>(f.blob("label")), (std::vector<float>{0, 0.5}));
  EXPECT_EQ(data_of<float>(f.blob("words")), (std::vector<float>{0, 1, 10, 11, 20, 21}));
  EXPECT_EQ(*f.layer->record_keys(), (std::vector<std::string>{"r0", "r1"}));
  next_batch(f);  // runs on into the second epoch
  EXPECT_EQ(data_of<float>(f.blob("label")), (std::vector<float>{1, 0}));
}

TEST(CoSData, FedWithFilesAnswersEachRowOnce) {
  const Scratch scratch;
  RunContext run;
  run.data.fed = true;
  LayerFixture f(std::string(kTops) + "}", run);
  f.set_up();
  EXPECT_THAT(error_of([&] { next_batch(f); }), HasSubstr("has no rows yet"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(f.layer->read_rows(write_rows(scratch.path("rows"), three_rows())), 3);
    next_batch(f);
    next_batch(f);
    EXPECT_EQ(f.blob("words").shape(), Shape({3, 1}));
    EXPECT_EQ(data_of<float>(f.blob("words")), (std::vector<float>{2, 12, 22}));
    EXPECT_THAT(error_of([&] { next_batch(f); }), HasSubstr("all rows"));
  }
}

TEST(CoSData, ShufflesEveryEpochIntoAPermutation) {
  const Scratch scratch;
  std::vector<std::string> values;
  for (int i = 0; i < 20; ++i) values.push_back(floats_field({static_cast<float>(i)}));
  RunContext run;
  run.phase = TRAIN;
  LayerFixture f(
      "name: 'c' type: 'CoSData' top: 'x' cos_data_param { batch_size: 20 shuffle: true "
      "top { name: 'x' type: INT sample_num_axes: 1 } source: '" +
          write_rows(scratch.path("rows"), values) + "' }",
      run);
  f.set_up();
  next_batch(f);
  const std::vector<float> first = data_of<float>(f.blob("x"));
  next_batch(f);
  EXPECT_NE(first, data_of<float>(f.blob("x")));
  EXPECT_EQ(std::set<float>(first.begin(), first.end()).size(), 20u);
}

std::string row_error(const std::string& top, const std::string& row, bool resize = false) {
  const Scratch scratch;
  RunContext run;
  run.data.resize = resize;
  LayerFixture f(
      "name: 'c' type: 'CoSData' top: 'x' cos_data_param { batch_size: 1 top { name: "
      "'x' " +
          top + " } source: '" + write_rows(scratch.path("rows"), {row}) + "' }",
      run);
  f.set_up();
  return error_of([&] { next_batch(f); });
}

TEST(CoSData, NamesTheRowThatIsWrong) {
  const std::string image = "type: ENCODED_IMAGE channels: 3 height: 4 width: 4";
  EXPECT_THAT(row_error(image, field(2, 0, 0, 0, "nonsense")),
              AllOf(HasSubstr("[layer c (CoSData)] record 'r0' (number 0) of somewhere"),
                    HasSubstr("8 bytes that are no JPEG")));
  EXPECT_THAT(row_error(image, field(1, 3, 2, 2, std::string(12, 'x'))),
              AllOf(HasSubstr("becomes 3 x 2 x 2"), HasSubstr("-resize")));
  EXPECT_EQ(row_error(image, field(1, 3, 2, 2, std::string(12, 'x')), true), "");
  EXPECT_THAT(row_error(image, field(1, 1, 4, 4, std::string(16, 'x'))), HasSubstr("1 channels"));
  EXPECT_THAT(row_error(image, field(1, 3, 4, 4, "x")), HasSubstr("1 bytes of pixels"));
  // The product of these is 2^64.
  EXPECT_THAT(row_error(image, field(1, 1 << 12, 1 << 26, 1 << 26, ""), true),
              HasSubstr("0 bytes of pixels"));
  EXPECT_THAT(row_error("type: INT_ARRAY channels: 4 sample_num_axes: 1", floats_field({1, 2})),
              HasSubstr("has 2 numbers for top 'x', expected 4"));
}

TEST(CoSData, RefusesDefinitionsThatCannotWork) {
  const auto refused = [](const std::string& inside) {
    return error_of([&] {
      LayerFixture f("name: 'c' type: 'CoSData' top: 'x' cos_data_param { " + inside + " }");
      f.set_up();
    });
  };
  EXPECT_THAT(refused("top { name: 'x' }"), HasSubstr("batch_size } is 0"));
  EXPECT_THAT(refused("batch_size: 1"), HasSubstr("found 0 entries top in cos_data_param for 1"));
  EXPECT_THAT(refused("batch_size: 1 top { name: 'x' }"), HasSubstr("is fed by Spark"));
  EXPECT_THAT(refused("batch_size: 1 top { name: 'x' type: RAW_IMAGE }"),
              HasSubstr("needs channels, height and width"));
  EXPECT_THAT(refused("batch_size: 1 top { name: 'x' type: INT_ARRAY channels: 2 transpose: true "
                      "sample_num_axes: 2 }"),
              HasSubstr("must then be 1"));
  EXPECT_THAT(refused("batch_size: 1 top { name: 'x' type: INT_ARRAY channels: 2 height: 2 "
                      "sample_num_axes: 1 }"),
              HasSubstr("sample_num_axes"));
}

}  // namespace
}  // namespace caffe::testing

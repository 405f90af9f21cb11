#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <thread>

#include "capi/handles.h"
#include "support/rows.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const char* const kInput =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }\n";

int status_of(const std::string& text, const std::string& options = "") {
  NetHandle net;
  return create_net(text, 1, options, &net);
}

TEST(NetCreate, NamesWhatItDoesNotKnow) {
  EXPECT_EQ(status_of("layer { name: 'a' type: 'Foo' top: 'x' }"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("Unknown layer type: Foo (known types: "));
  EXPECT_EQ(status_of(kInput, "weihgts=a\n"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(),
              AllOf(HasSubstr("unknown option 'weihgts'"), HasSubstr("weights, threads")));
  EXPECT_EQ(status_of(kInput, "observe=y"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("y"));
}

TEST(NetCreate, RefusesBadOptions) {
  EXPECT_EQ(status_of(kInput, "threads"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("key=value"));
  EXPECT_EQ(status_of(kInput, "threads=two"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("threads"), HasSubstr("two")));
  EXPECT_EQ(status_of(kInput, "threads=1\nthreads=2"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("twice"));
  EXPECT_EQ(status_of(kInput, "precision=f16"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("option 'precision' is f32 or bf16, not \"f16\""));
  EXPECT_EQ(status_of(kInput, "begin=0"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("go together"));
  EXPECT_EQ(status_of(kInput, "begin=5\nend=4"), CAFFE_INVALID_ARGUMENT);
  EXPECT_EQ(status_of(kInput, "begin=0\nend=4"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("reads records"));
}

TEST(NetCreate, RefusesBytesThatAreNoNet) {
  caffe_net* net = nullptr;
  const std::string noise = "\xff\xff\xff\xff";
  EXPECT_EQ(
      caffe_net_create(reinterpret_cast<const uint8_t*>(noise.data()), noise.size(), 1, "", &net),
      CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("NetParameter"));
  EXPECT_EQ(net, nullptr);
}

TEST(NetCreate, SaysThatWeightsAreMissing) {
  EXPECT_EQ(status_of(kInput, "weights=/does/not/exist.caffemodel"), CAFFE_IO);
  EXPECT_THAT(caffe_last_error(), HasSubstr("/does/not/exist.caffemodel"));
}

TEST(Net, TellsItsBlobs) {
  const NetHandle net = make_net(std::string(kInput) +
                                 "layer { name: 't' type: 'TanH' bottom: 'x' top: 'y' }\n"
                                 "layer { name: 's' type: 'Sigmoid' bottom: 'y' top: 'z' }");
  EXPECT_THAT(
      strings_of([&](caffe_strings** names) { return caffe_net_blob_names(net.get(), names); }),
      ::testing::ElementsAre("x", "y", "z"));
  EXPECT_THAT(
      strings_of([&](caffe_strings** names) { return caffe_net_output_names(net.get(), names); }),
      ::testing::ElementsAre("z"));
  int64_t rows = 0;
  must(caffe_net_forward(net.get(), &rows));
  EXPECT_EQ(rows, 2);
  EXPECT_EQ(read_blob(net.get(), "z").size(), 6u);
  int64_t count = 0;
  EXPECT_EQ(caffe_net_blob_count(net.get(), "nix", &count), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("nix"));
  float room[2];
  EXPECT_EQ(caffe_net_blob_read(net.get(), "z", room, 2), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("6 values"), HasSubstr("2")));
}

TEST(Net, RefusesBlobsThatAreNotObserved) {
  const std::string text = std::string(kInput) +
                           "layer { name: 't' type: 'TanH' bottom: 'x' top: 'y' }\n"
                           "layer { name: 's' type: 'Sigmoid' bottom: 'y' top: 'z' }";
  int64_t count = 0;
  EXPECT_EQ(caffe_net_blob_count(make_net(text).get(), "y", &count), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("not observed"));
  EXPECT_EQ(caffe_net_blob_count(make_net(text, 1, "observe=y,x").get(), "y", &count), CAFFE_OK);
}

// Everything a net over the records [begin, end) gives, batch by batch.
struct Pass {
  std::vector<int64_t> rows;
  std::vector<std::string> keys;
  std::vector<float> scores;
};

Pass run_over(const Digits& digits, int64_t begin, int64_t end, int batch,
              const std::string& more = "") {
  const NetHandle net = make_net(
      smooth_net(digits.train, digits.train, batch), 1,
      "observe=ip2\nbegin=" + std::to_string(begin) + "\nend=" + std::to_string(end) + "\n" + more);
  Pass pass;
  for (;;) {
    int64_t rows = -1;
    must(caffe_net_forward(net.get(), &rows));
    if (rows == 0) return pass;
    pass.rows.push_back(rows);
    const auto keys =
        strings_of([&](caffe_strings** list) { return caffe_net_record_keys(net.get(), list); });
    EXPECT_EQ(static_cast<int64_t>(keys.size()), rows);
    pass.keys.insert(pass.keys.end(), keys.begin(), keys.end());
    const std::vector<float> scores = read_blob(net.get(), "ip2");
    EXPECT_EQ(static_cast<int64_t>(scores.size()), rows * 10);
    pass.scores.insert(pass.scores.end(), scores.begin(), scores.end());
  }
}

TEST(NetOverRecords, AnswersEachRecordOnceWithATrueLastBatch) {
  const Digits digits;
  const Pass pass = run_over(digits, 0, 60, 8);
  EXPECT_THAT(pass.rows, ::testing::ElementsAre(8, 8, 8, 8, 8, 8, 8, 4));
  EXPECT_EQ(std::set<std::string>(pass.keys.begin(), pass.keys.end()).size(), 60u);
  EXPECT_TRUE(std::is_sorted(pass.keys.begin(), pass.keys.end()));
}

TEST(NetOverRecords, GivesTheSameNumbersForAnyPartition) {
  const Digits digits;
  const Pass whole = run_over(digits, 0, 60, 60);
  Pass parts;
  for (const auto& [begin, end] :
       {std::pair{0, 7}, std::pair{7, 8}, std::pair{8, 41}, std::pair{41, 60}}) {
    const Pass part = run_over(digits, begin, end, 5);
    parts.keys.insert(parts.keys.end(), part.keys.begin(), part.keys.end());
    parts.scores.insert(parts.scores.end(), part.scores.begin(), part.scores.end());
  }
  EXPECT_EQ(parts.keys, whole.keys);
  ASSERT_EQ(parts.scores.size(), whole.scores.size());
  for (size_t i = 0; i < whole.scores.size(); ++i)
    EXPECT_NEAR(parts.scores[i], whole.scores[i], 1e-5);
}

TEST(NetOverRecords, GivesNearlyTheSameNumbersInBf16) {
  if (!has_bf16()) GTEST_SKIP() << "this processor does not compute in bf16";
  const Digits digits;
  const Pass plain = run_over(digits, 0, 60, 10, "precision=f32");
  EXPECT_EQ(run_over(digits, 0, 60, 10).scores, plain.scores);
  const Pass rounded = run_over(digits, 0, 60, 10, "precision=bf16");
  EXPECT_EQ(rounded.keys, plain.keys);
  ASSERT_EQ(rounded.scores.size(), plain.scores.size());
  EXPECT_NE(rounded.scores, plain.scores);
  for (size_t i = 0; i < plain.scores.size(); ++i)
    EXPECT_NEAR(rounded.scores[i], plain.scores[i], 2e-2);
}

TEST(NetOverRecords, OfAnEmptyRangeEndsAtOnce) {
  const Digits digits;
  EXPECT_TRUE(run_over(digits, 30, 30, 8).rows.empty());
  EXPECT_TRUE(run_over(digits, 60, 60, 8).rows.empty());
}

TEST(NetOverRecords, RefusesARangeBeyondTheEnd) {
  const Digits digits;
  EXPECT_EQ(status_of(smooth_net(digits.train, digits.train, 8), "begin=50\nend=61"),
            CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("61"), HasSubstr("60 records")));
}

TEST(Net, KeepsItsKeysForLayersThatReadRecords) {
  const NetHandle net = make_net(kInput);
  caffe_strings* keys = nullptr;
  EXPECT_EQ(caffe_net_record_keys(net.get(), &keys), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("no layer that reads records"));
}

TEST(Net, EndsWhenItIsCancelledFromAnotherThread) {
  const Digits digits;
  const NetHandle net = make_net(smooth_net(digits.train, digits.train, 8));
  int64_t rows = 0;
  must(caffe_net_forward(net.get(), &rows));
  std::thread([&] { caffe_net_cancel(net.get()); }).join();
  EXPECT_EQ(caffe_net_forward(net.get(), &rows), CAFFE_CANCELLED);
  EXPECT_EQ(caffe_net_forward(net.get(), &rows), CAFFE_CANCELLED);
}

// A finished file of `count` rows with two numbers and a label each.
std::string write_rows(const Scratch& scratch, int count) {
  const std::string path = scratch.path("fed.rows");
  caffe_rows* rows = nullptr;
  must(caffe_rows_create(path.c_str(), "table", &rows));
  for (int i = 0; i < count; ++i) {
    const auto number = static_cast<float>(i);
    const std::string row = row_bytes(static_cast<uint64_t>(i), "key" + std::to_string(i),
                                      floats_field({number, -number}) + floats_field({number}));
    must(caffe_rows_append(rows, reinterpret_cast<const uint8_t*>(row.data()), row.size()));
  }
  int64_t written = 0;
  must(caffe_rows_finish(rows, &written));
  EXPECT_EQ(written, count);
  EXPECT_EQ(caffe_rows_finish(rows, nullptr), CAFFE_INVALID_ARGUMENT);
  caffe_rows_free(rows);
  return path;
}

const char* const kFed =
    "layer { name: 'd' type: 'MemoryData' top: 'x' top: 'label' memory_data_param { batch_size: 2 "
    "channels: 2 height: 1 width: 1 } }";

TEST(NetFeed, AnswersTheRowsOfEachFileOnce) {
  const Scratch scratch;
  const NetHandle net = make_net(kFed, 1, "feed=1");
  int64_t rows = 7;
  must(caffe_net_forward(net.get(), &rows));
  EXPECT_EQ(rows, 0);
  for (const int count : {3, 1, 4}) {
    int64_t found = 0;
    must(caffe_net_feed(net.get(), "d", write_rows(scratch, count).c_str(), &found));
    EXPECT_EQ(found, count);
    std::vector<std::string> keys;
    for (must(caffe_net_forward(net.get(), &rows)); rows > 0;
         must(caffe_net_forward(net.get(), &rows))) {
      const auto some =
          strings_of([&](caffe_strings** list) { return caffe_net_record_keys(net.get(), list); });
      EXPECT_EQ(static_cast<int64_t>(some.size()), rows);
      const std::vector<float> values = read_blob(net.get(), "x");
      EXPECT_EQ(values[0], static_cast<float>(keys.size()));
      EXPECT_EQ(values[1], -values[0]);
      keys.insert(keys.end(), some.begin(), some.end());
      int64_t shape[4];
      int axes = 0;
      must(caffe_net_blob_shape(net.get(), "x", shape, 4, &axes));
      EXPECT_EQ(axes, 4);
      EXPECT_EQ(shape[0], rows);
    }
    EXPECT_EQ(keys.size(), static_cast<size_t>(count));
  }
}

TEST(NetFeed, RefusesWhatItCannotUse) {
  const Scratch scratch;
  const std::string path = write_rows(scratch, 1);
  const NetHandle net = make_net(kFed, 1, "feed=1");
  EXPECT_EQ(caffe_net_feed(net.get(), "nix", path.c_str(), nullptr), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("no layer 'nix'"));
  EXPECT_EQ(caffe_net_feed(net.get(), "d", scratch.path("none").c_str(), nullptr), CAFFE_IO);
  const NetHandle other = make_net(kInput);
  EXPECT_EQ(caffe_net_feed(other.get(), "in", path.c_str(), nullptr), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("feed=1"));
  const NetHandle input = make_net(kInput, 1, "feed=1");
  EXPECT_EQ(caffe_net_feed(input.get(), "in", path.c_str(), nullptr), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("[layer in (Input)] does not read rows"));
  caffe_rows* rows = nullptr;
  EXPECT_EQ(caffe_rows_create(scratch.path("no/folder").c_str(), "", &rows), CAFFE_IO);
  must(caffe_rows_create(scratch.path("half").c_str(), "", &rows));
  const uint8_t bytes[3] = {};
  EXPECT_EQ(caffe_rows_append(rows, bytes, 3), CAFFE_INVALID_ARGUMENT);
  caffe_rows_free(rows);
  EXPECT_NE(caffe_net_feed(net.get(), "d", scratch.path("half").c_str(), nullptr), CAFFE_OK);
}

}  // namespace
}  // namespace caffe::testing

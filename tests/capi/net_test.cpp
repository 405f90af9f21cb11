#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <thread>

#include "capi/handles.h"

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

Pass run_over(const Digits& digits, int64_t begin, int64_t end, int batch) {
  const NetHandle net =
      make_net(smooth_net(digits.train, digits.train, batch), 1,
               "observe=ip2\nbegin=" + std::to_string(begin) + "\nend=" + std::to_string(end));
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

}  // namespace
}  // namespace caffe::testing

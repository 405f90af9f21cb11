// Data formats from outside, by the example of examples/data_source_idx.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "data/datum.h"
#include "data/record_source.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string library(const std::string& name) {
  return std::string(CAFFE_FORMATS) + "/libcaffe_data_" + name + ".so";
}

std::string error_of(const std::string& format, const std::string& path, int64_t index = 0) {
  return testing::error_of([&] { open_records(format, path)->read(index); });
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string header(const std::vector<uint8_t>& extents) {
  std::string bytes{0, 0, 8, static_cast<char>(extents.size())};
  for (const uint8_t extent : extents) bytes += std::string{0, 0, 0, static_cast<char>(extent)};
  return bytes;
}

// Three pictures of 2 x 2 pixels.
std::string digits(const Scratch& scratch) {
  write(scratch.path("t-images-idx3-ubyte"), header({3, 2, 2}) + "abcdefghijkl");
  write(scratch.path("t-labels-idx1-ubyte"), header({3}) + std::string{7, 0, 9});
  return scratch.path("t");
}

TEST(PluginSource, ReadsTheFilesOfTheExample) {
  const Scratch scratch;
  const auto source = open_records(library("idx"), digits(scratch));
  ASSERT_EQ(source->size(), 3);
  EXPECT_EQ(source->name(), scratch.path("t"));
  const std::vector<std::string> pixels{"abcd", "efgh", "ijkl"};
  const std::vector<int> labels{7, 0, 9};
  for (const int i : {2, 0, 1}) {
    const Record record = source->read(i);
    EXPECT_EQ(record.key, concat("0000000", i));
    const DatumView datum = parse_datum(record, "t");
    EXPECT_EQ((std::vector{datum.channels, datum.height, datum.width}), (std::vector{1, 2, 2}));
    EXPECT_EQ(datum.data, pixels[static_cast<size_t>(i)]);
    EXPECT_EQ(datum.label, labels[static_cast<size_t>(i)]);
    EXPECT_FALSE(datum.encoded);
  }
}

TEST(PluginSource, TheExampleSaysWhatIsWrongWithItsFiles) {
  const Scratch scratch;
  EXPECT_THAT(error_of(library("idx"), scratch.path("none")),
              AllOf(HasSubstr("cannot open " + scratch.path("none") + " as "),
                    HasSubstr("cannot open " + scratch.path("none-images-idx3-ubyte"))));
  const std::string prefix = digits(scratch);
  write(prefix + "-labels-idx1-ubyte", header({2}) + "ab");
  EXPECT_THAT(error_of(library("idx"), prefix), HasSubstr("3 images, but 2 labels"));
  write(prefix + "-labels-idx1-ubyte", header({3}) + "ab");
  EXPECT_THAT(error_of(library("idx"), prefix), HasSubstr("has 10 bytes, expected 11"));
  write(prefix + "-labels-idx1-ubyte", "\x1f\x8b gz");
  EXPECT_THAT(error_of(library("idx"), prefix), HasSubstr("is no idx file"));
}

TEST(PluginSource, ThreadsReadFloatValuesThroughTheRoomTheyAreGiven) {
  const auto source = open_records(library("odd"), "fine");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < 500; ++i) {
        const Record record = source->read(i % 7);
        const DatumView datum = parse_datum(record, "odd");
        std::array<float, 3> values{};
        ASSERT_EQ(datum.float_count, 3);
        copy_float_data(datum, values.data());
        ASSERT_EQ(values[2], static_cast<float>(10 * (i % 7) + 2));
        ASSERT_EQ(datum.label, -(i % 7));
        ASSERT_EQ(record.key, concat("tape/", i % 7));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(PluginSource, MistakesOfAFormatAreErrorsThatNameIt) {
  const std::string odd = library("odd");
  EXPECT_THAT(error_of(odd, "closed"),
              HasSubstr("cannot open closed as " + odd + ": it is closed on Sundays"));
  EXPECT_THAT(error_of(odd, "empty"), HasSubstr("empty has 0 records, expected at least one"));
  EXPECT_THAT(error_of(odd, "unreadable", 2),
              HasSubstr("record 'tape/2' of unreadable cannot be read: a hole is in the tape"));
  EXPECT_THAT(error_of(odd, "nothing"), HasSubstr("has 0 of pixels, values and file"));
  EXPECT_THAT(error_of(odd, "both"), HasSubstr("has 2 of pixels, values and file"));
  EXPECT_THAT(error_of(odd, "flat"), HasSubstr("is 0 x 0 x 3"));
  EXPECT_THAT(error_of(odd, "huge"), HasSubstr("record 'tape/0' of huge is too large"));
}

TEST(PluginSource, LibrariesThatWillNotDoAreRefused) {
  EXPECT_THAT(error_of(library("old"), "x"),
              HasSubstr("was built for version 0 of caffe_data.h; this program needs 1"));
  EXPECT_THAT(error_of("none.so", "x"), HasSubstr("there is no none.so in "));
  EXPECT_THAT(error_of("/none.so", "x"), HasSubstr("cannot be loaded"));
}

TEST(PluginSource, ANameIsLookedForInTheFoldersOfTheVariable) {
  const Scratch scratch;
  ASSERT_EQ(::setenv("CAFFE_DATA_PATH", (scratch.path("") + ":" CAFFE_FORMATS).c_str(), 1), 0);
  const auto source = open_records("libcaffe_data_idx.so", digits(scratch));
  ::unsetenv("CAFFE_DATA_PATH");
  EXPECT_EQ(source->size(), 3);
}

}  // namespace
}  // namespace caffe::testing

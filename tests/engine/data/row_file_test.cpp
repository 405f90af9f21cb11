#include "data/row_file.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/error_of.h"
#include "support/rows.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

using ::testing::HasSubstr;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(RowFile, GivesRowsInTheirOrderWhateverTheOrderOfWriting) {
  const Scratch scratch;
  const std::string path = scratch.path("a.rows");
  RowFileWriter writer(path, "hdfs://host/table");
  writer.append(row_bytes(uint64_t{1} << 40, "last", "z") + row_bytes(7, "b", ""));
  writer.append("");
  writer.append(row_bytes(3, "a", std::string(100000, 'x')));
  EXPECT_EQ(writer.finish(), 3);
  EXPECT_THAT(error_of([&] { writer.append(row_bytes(1, "a", "b")); }), HasSubstr("finished"));

  const auto rows = open_row_file(path);
  ASSERT_EQ(rows->size(), 3);
  EXPECT_EQ(rows->name(), "hdfs://host/table");
  EXPECT_EQ(rows->read(0).key, "a");
  EXPECT_EQ(rows->read(0).value, std::string(100000, 'x'));
  EXPECT_EQ(rows->read(1).key, "b");
  EXPECT_EQ(rows->read(2).value, "z");
}

TEST(RowFile, TakesWholeRowsOnly) {
  const Scratch scratch;
  RowFileWriter writer(scratch.path("a.rows"), "a");
  const std::string row = row_bytes(0, "key", "value");
  EXPECT_THAT(error_of([&] { writer.append(row + row.substr(0, 20)); }),
              HasSubstr("44 bytes are no whole rows"));
  writer.append(row);
  EXPECT_EQ(writer.finish(), 1);
}

TEST(RowFile, DamagedFilesAreErrors) {
  const Scratch scratch;
  const std::string path = scratch.path("a.rows");
  write_rows(path, {floats_field({1, 2}), floats_field({3})});
  const std::string good = bytes_of(path);
  const auto read_all = [&] {
    const auto rows = open_row_file(path);
    for (int64_t i = 0; i < rows->size(); ++i) row_field(rows->read(i).value, 0);
  };
  read_all();
  for (size_t size = 1; size < good.size(); ++size) {
    write_bytes(path, good.substr(0, size));
    EXPECT_THAT(error_of(read_all), HasSubstr("damaged file of rows")) << size;
  }
  for (size_t at = 0; at < good.size(); ++at) {  // no change may lead outside of the file
    std::string bad = good;
    bad[at] = static_cast<char>(0xff);
    write_bytes(path, bad);
    error_of(read_all);
  }
  // An index right behind the name: there is no room for the row that it names.
  const std::string magic = good.substr(0, 8);
  std::string no_rows = magic;
  for (const uint32_t word : {0u, 0u, 256u, 1u, 0u, 12u, 0u}) put_u32(no_rows, word);
  write_bytes(path, no_rows + magic);
  EXPECT_THAT(error_of(read_all), HasSubstr("row 0 lies at offset"));
  EXPECT_THAT(error_of([&] { open_row_file(scratch.path("none")); }), HasSubstr("cannot open"));
  RowFileWriter(path, "").finish();
  EXPECT_THAT(error_of(read_all), HasSubstr("it has no rows"));
  EXPECT_THAT(error_of([&] { RowFileWriter(scratch.path("no/folder"), ""); }),
              HasSubstr("cannot create"));
}

TEST(RowField, AreFoundByTheirNumber) {
  const std::string value = floats_field({5}) + field(1, 3, 2, 1, "abcdef") + field(2, 0, 4, 5, "");
  const RowField pixels = row_field(value, 1);
  EXPECT_EQ(pixels.kind, RowFieldKind::kPixels);
  EXPECT_EQ(pixels.channels, 3);
  EXPECT_EQ(pixels.bytes, "abcdef");
  EXPECT_EQ(row_field(value, 2).width, 5);
  EXPECT_THAT(error_of([&] { row_field(value, 3); }),
              HasSubstr("has 3 fields, expected at least 4"));
  EXPECT_THAT(error_of([&] { row_field(value.substr(0, 30), 1); }), HasSubstr("damaged"));
  EXPECT_THAT(error_of([&] { row_field(field(9, 0, 0, 0, ""), 0); }), HasSubstr("damaged"));
}

}  // namespace
}  // namespace caffe::testing

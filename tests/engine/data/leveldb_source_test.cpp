#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "data/record_source.h"
#include "data/record_writer.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

namespace fs = std::filesystem;

TEST(LevelDbSource, SeveralReadersAtOnceOfAReadOnlyFolderLeaveItUntouched) {
  const testing::Scratch scratch;
  const std::string path = scratch.golden("data/db_raw_leveldb");
  std::map<std::string, std::string> before;
  for (const auto& entry : fs::directory_iterator(path)) {
    before[entry.path()] = testing::read_file(entry.path());
    fs::permissions(entry.path(), fs::perms::owner_read);
  }
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_exec);
  const auto first = open_records("LEVELDB", path);
  const auto second = open_records("LEVELDB", path);
  ASSERT_EQ(first->size(), second->size());
  ASSERT_GT(first->size(), 1);
  for (int64_t i = 0; i < first->size(); ++i) {
    EXPECT_EQ(first->read(i).key, second->read(i).key);
    EXPECT_EQ(first->read(i).value, second->read(i).value);
    if (i > 0) {
      EXPECT_LT(first->read(i - 1).key, first->read(i).key);
    }
  }
  fs::permissions(path, fs::perms::owner_all);
  std::map<std::string, std::string> after;
  for (const auto& entry : fs::directory_iterator(path))
    after[entry.path()] = testing::read_file(entry.path());
  EXPECT_EQ(before, after);
}

TEST(LevelDbSource, LeavesNoTemporaryFiles) {
  const testing::Scratch scratch;
  const testing::Scratch temporary;
  ::setenv("TMPDIR", temporary.path().c_str(), 1);
  const auto source = open_records("LEVELDB", scratch.golden("data/db_raw_leveldb"));
  ::unsetenv("TMPDIR");
  EXPECT_TRUE(fs::is_empty(temporary.path()));
  EXPECT_FALSE(source->read(source->size() - 1).value.empty());
}

TEST(LevelDbWriter, RoundTrip) {
  const testing::Scratch scratch;
  {
    const auto writer = create_records("LEVELDB", scratch.path("db"));
    for (int i = 0; i < 2000; ++i)
      writer->put(concat(100000 + (i * 7) % 2000), std::string(i % 3000, 'a' + i % 26));
    writer->finish();
  }
  const auto source = open_records("LEVELDB", scratch.path("db"));
  ASSERT_EQ(source->size(), 2000);
  for (int i = 0; i < 2000; ++i) {
    const Record record = source->read((i * 7) % 2000);
    EXPECT_EQ(record.key, concat(100000 + (i * 7) % 2000));
    EXPECT_EQ(record.value, std::string(i % 3000, 'a' + i % 26));
  }
}

TEST(LevelDbSource, ErrorsNameTheFolder) {
  const testing::Scratch scratch;
  const auto error_of = [](const std::string& path) {
    return testing::error_of([&] { open_records("LEVELDB", path); });
  };
  EXPECT_THAT(error_of(scratch.path("absent")),
              ::testing::HasSubstr("absent: there is no such folder"));
  fs::create_directory(scratch.path("other"));
  EXPECT_THAT(error_of(scratch.path("other")), ::testing::HasSubstr("other is no LevelDB"));
  { create_records("LEVELDB", scratch.path("empty"))->finish(); }
  EXPECT_THAT(error_of(scratch.path("empty")),
              ::testing::HasSubstr("empty is empty, expected at least one record"));
  const std::string damaged = scratch.golden("data/db_raw_leveldb");
  for (const auto& entry : fs::directory_iterator(damaged)) {
    if (entry.path().extension() == ".ldb")
      fs::resize_file(entry.path(), fs::file_size(entry.path()) / 2);
  }
  EXPECT_THAT(error_of(damaged), ::testing::HasSubstr("cannot read the LevelDB " + damaged));
}

TEST(RecordBackends, AnUnknownStoreIsNamedWithTheKnownOnes) {
  try {
    open_records("SQLITE", "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Unknown record store type: SQLITE (known types: LEVELDB, LMDB)");
  }
}

}  // namespace
}  // namespace caffe

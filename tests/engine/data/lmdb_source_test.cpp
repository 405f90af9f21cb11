// Our reader against files that liblmdb wrote.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lmdb.h>

#include <filesystem>
#include <map>
#include <random>

#include "core/error.h"
#include "data/record_source.h"
#include "data/record_writer.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using Records = std::map<std::string, std::string>;

// A liblmdb environment for writing in ways that RecordWriter does not.
class Environment {
 public:
  explicit Environment(const std::string& path, unsigned flags = 0) {
    if ((flags & MDB_NOSUBDIR) == 0) std::filesystem::create_directory(path);
    mdb_env_create(&env_);
    mdb_env_set_mapsize(env_, size_t{1} << 30);
    mdb_env_set_maxdbs(env_, 4);
    EXPECT_EQ(mdb_env_open(env_, path.c_str(), flags | MDB_NOSYNC, 0664), 0);
  }
  ~Environment() { mdb_env_close(env_); }

  template <typename Work>
  void transaction(Work work, const char* database = nullptr, unsigned flags = 0) {
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    ASSERT_EQ(mdb_txn_begin(env_, nullptr, 0, &txn), 0);
    ASSERT_EQ(mdb_dbi_open(txn, database, flags, &dbi), 0);
    work(txn, dbi);
    ASSERT_EQ(mdb_txn_commit(txn), 0);
  }

  void put(const Records& records) {
    transaction([&](MDB_txn* txn, MDB_dbi dbi) {
      for (const auto& [key, value] : records) {
        MDB_val k{key.size(), const_cast<char*>(key.data())};
        MDB_val v{value.size(), const_cast<char*>(value.data())};
        ASSERT_EQ(mdb_put(txn, dbi, &k, &v, 0), 0);
      }
    });
  }

  void remove(const std::string& key) {
    transaction([&](MDB_txn* txn, MDB_dbi dbi) {
      MDB_val k{key.size(), const_cast<char*>(key.data())};
      ASSERT_EQ(mdb_del(txn, dbi, &k, nullptr), 0);
    });
  }

 private:
  MDB_env* env_ = nullptr;
};

std::string random_text(std::mt19937& random, size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

Records random_records(int count, size_t longest_key, size_t longest_value, uint32_t seed) {
  std::mt19937 random(seed);
  Records records;
  while (records.size() < static_cast<size_t>(count)) {
    records[random_text(random, 1 + random() % longest_key)] =
        random_text(random, random() % (longest_value + 1));
  }
  return records;
}

void expect_equal(const RecordSource& source, const Records& records) {
  ASSERT_EQ(source.size(), static_cast<int64_t>(records.size()));
  int64_t index = 0;
  for (const auto& [key, value] : records) {
    const Record record = source.read(index++);
    ASSERT_EQ(record.key, key);
    ASSERT_EQ(record.value, value);
  }
}

std::string error_of(const std::string& path) {
  return testing::error_of([&] { open_records("LMDB", path); });
}

TEST(LmdbSource, ReadsWhatLiblmdbWrote) {
  struct Case {
    int count;
    size_t key, value;
  };
  for (const Case& c :
       {Case{1, 8, 10}, Case{2000, 30, 3000}, Case{300, 500, 20000}, Case{20000, 511, 5}}) {
    const testing::Scratch scratch;
    const Records records = random_records(c.count, c.key, c.value, 7);
    Environment(scratch.path("db")).put(records);
    expect_equal(*open_records("LMDB", scratch.path("db")), records);
    expect_equal(*open_records("LMDB", scratch.path("db/data.mdb")), records);
  }
}

TEST(LmdbSource, ReadsSingleFilesAndWritesNothing) {
  const testing::Scratch scratch;
  const Records records = random_records(100, 10, 100, 1);
  Environment(scratch.path("single"), MDB_NOSUBDIR).put(records);
  std::filesystem::remove(scratch.path("single-lock"));
  expect_equal(*open_records("LMDB", scratch.path("single")), records);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("single-lock")));
}

TEST(LmdbSource, SeesTheNewestOfManyTransactions) {
  const testing::Scratch scratch;
  Records records = random_records(3000, 40, 2000, 3);
  Environment environment(scratch.path("db"));
  environment.put(records);
  std::mt19937 random(5);
  for (int round = 0; round < 6; ++round) {
    Records changed;
    for (int i = 0; i < 200; ++i) {
      auto it = records.begin();
      std::advance(it, random() % records.size());
      if (i % 2 == 0) {
        environment.remove(it->first);
        records.erase(it);
      } else {
        changed[it->first] = random_text(random, random() % 6000);
      }
    }
    for (auto it = changed.begin(); it != changed.end();)
      it = records.count(it->first) ? std::next(it) : changed.erase(it);
    environment.put(changed);
    for (const auto& [key, value] : changed) records[key] = value;
    expect_equal(*open_records("LMDB", scratch.path("db")), records);
  }
}

TEST(LmdbSource, ReadsTheFixturesOfCaffe) {
  const testing::Scratch scratch;
  const auto source = open_records("LMDB", scratch.golden("formats/train_lmdb"));
  EXPECT_EQ(source->read(0).key, "00000000_train_000.png");
  EXPECT_EQ(source->name(), scratch.path("train_lmdb"));
}

TEST(LmdbSource, RefusesWhatItCannotServe) {
  const testing::Scratch scratch;
  {
    Environment(scratch.path("empty")).transaction([](MDB_txn*, MDB_dbi) {});
    Environment duplicates(scratch.path("duplicates"));
    duplicates.transaction(
        [](MDB_txn* txn, MDB_dbi dbi) {
          MDB_val k{1, const_cast<char*>("k")}, v{1, const_cast<char*>("v")};
          mdb_put(txn, dbi, &k, &v, 0);
        },
        nullptr, MDB_DUPSORT);
    Environment(scratch.path("named")).transaction([](MDB_txn*, MDB_dbi) {}, "part", MDB_CREATE);
  }
  EXPECT_THAT(error_of(scratch.path("empty")),
              ::testing::HasSubstr("empty/data.mdb: the database is empty"));
  EXPECT_THAT(error_of(scratch.path("duplicates")), ::testing::HasSubstr("MDB_DUPSORT"));
  EXPECT_THAT(error_of(scratch.path("named")), ::testing::HasSubstr("named sub-database 'part'"));
  EXPECT_THAT(error_of(scratch.path("absent")), ::testing::HasSubstr("absent: No such file"));
  testing::write_file(scratch.path("zero"), "");
  EXPECT_THAT(error_of(scratch.path("zero")), ::testing::HasSubstr("zero is empty (0 bytes)"));
  testing::write_file(scratch.path("text"), std::string(20000, 'x'));
  EXPECT_THAT(error_of(scratch.path("text")), ::testing::HasSubstr("is not an LMDB data file"));
}

// Opening either fails with a clear error or gives records that can be read to their last byte.
void expect_no_crash(const std::string& path) {
  try {
    const auto source = open_records("LMDB", path);
    unsigned sum = 0;
    for (int64_t i = 0; i < source->size(); ++i) {
      const Record record = source->read(i);
      for (const char c : record.key) sum += static_cast<unsigned char>(c);
      for (const char c : record.value) sum += static_cast<unsigned char>(c);
    }
    volatile unsigned keep = sum;
    (void)keep;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData) << error.what();
    EXPECT_THAT(error.message(), ::testing::HasSubstr(path));
  }
}

TEST(LmdbSource, TruncatedFilesGiveAnErrorThatNamesThem) {
  const testing::Scratch scratch;
  Environment(scratch.path("db")).put(random_records(500, 20, 6000, 9));
  const std::string file = testing::read_file(scratch.path("db/data.mdb"));
  ASSERT_GT(file.size(), size_t{100} * 4096);
  int errors = 0;
  for (size_t size = 1; size < file.size(); size += size % 4096 == 0 ? 4095 : 1) {
    testing::write_file(scratch.path("cut"), file.substr(0, size));
    const std::string error = error_of(scratch.path("cut"));
    if (!error.empty()) ++errors;
    expect_no_crash(scratch.path("cut"));
    if (size % 4096 == 1) size += 4094;
  }
  EXPECT_GE(errors, 100);
  testing::write_file(scratch.path("half"), file.substr(0, file.size() / 2));
  EXPECT_THAT(error_of(scratch.path("half")),
              ::testing::HasSubstr("half: truncated or damaged LMDB"));
}

TEST(LmdbSource, FlippedBytesNeverCrash) {
  const testing::Scratch scratch;
  Environment(scratch.path("db")).put(random_records(120, 20, 3000, 11));
  Environment(scratch.path("deep")).put(random_records(400, 511, 5, 11));
  std::mt19937 random(13);
  for (const char* name : {"db", "deep"}) {
    const std::string file = testing::read_file(scratch.path(std::string(name) + "/data.mdb"));
    for (int i = 0; i < 3000; ++i) {
      std::string damaged = file;
      for (unsigned flips = 1 + random() % 4; flips > 0; --flips) {
        // Half of them in the headers of pages, where they hurt most.
        size_t at = random() % damaged.size();
        if (random() % 2 == 0) at = at / 4096 * 4096 + random() % 200;
        if (at < damaged.size()) damaged[at] = static_cast<char>(random());
      }
      testing::write_file(scratch.path("damaged"), damaged);
      expect_no_crash(scratch.path("damaged"));
    }
  }
}

TEST(LmdbWriter, GrowsItsMapAndLeavesOnlyTheFinishedStore) {
  const testing::Scratch scratch;
  std::mt19937 random(17);
  Records records;
  {
    const auto writer = create_records("LMDB", scratch.path("db"));
    for (int i = 0; i < 100; ++i) {  // 100 MB: more than the first map
      const std::string key = concat("k", 1000 + i);
      records[key] = random_text(random, size_t{1} << 20);
      writer->put(key, records[key]);
    }
    EXPECT_FALSE(std::filesystem::exists(scratch.path("db")));
    writer->finish();
  }
  expect_equal(*open_records("LMDB", scratch.path("db")), records);
  { const auto abandoned = create_records("LMDB", scratch.path("abandoned")); }
  int entries = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path())) {
    (void)entry;
    ++entries;
  }
  EXPECT_EQ(entries, 2);  // db and db/data.mdb
  EXPECT_THROW(create_records("LMDB", scratch.path("db")), Error);
}

}  // namespace
}  // namespace caffe

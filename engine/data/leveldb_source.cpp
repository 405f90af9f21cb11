// LevelDB opens a database exclusively and rewrites its logs, so it is given a private folder of
// links to the database's files: several readers and read-only folders then do no harm. The records
// are copied once, in key order, into an unlinked temporary file that is mapped; the private folder
// is gone before open_records returns.

#include <fcntl.h>
#include <leveldb/db.h>
#include <leveldb/env.h>
#include <leveldb/options.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "data/mapped_file.h"
#include "data/record_source.h"
#include "data/record_writer.h"
#include "data/scratch_folder.h"

namespace caffe {
namespace {

namespace fs = std::filesystem;

// Appends to an unlinked file in the folder for temporary files.
class Spool {
 public:
  Spool() {
    std::string name = ScratchFolder::temporary("caffe-records-XXXXXX");
    descriptor_ = ::mkstemp(name.data());
    CAFFE_REQUIRE_CODE(descriptor_ >= 0, ErrorCode::kIo, "cannot create ", name, ": ",
                       std::strerror(errno));
    ::unlink(name.c_str());
  }
  ~Spool() { ::close(descriptor_); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void append(std::string_view bytes) {
    buffer_.append(bytes);
    if (buffer_.size() >= kBuffer) flush();
  }

  void flush() {
    const char* from = buffer_.data();
    size_t left = buffer_.size();
    while (left > 0) {
      const ssize_t written = ::write(descriptor_, from, left);
      if (written < 0 && errno == EINTR) continue;
      CAFFE_REQUIRE_CODE(written > 0, ErrorCode::kIo,
                         "cannot copy records to a temporary file: ", std::strerror(errno),
                         "; set TMPDIR to a folder with more room");
      from += written;
      left -= static_cast<size_t>(written);
    }
    buffer_.clear();
  }

  int descriptor() const { return descriptor_; }

 private:
  static constexpr size_t kBuffer = size_t{1} << 20;
  int descriptor_;
  std::string buffer_;
};

class LevelDbSource final : public RecordSource {
 public:
  explicit LevelDbSource(const std::string& path) : RecordSource(path) {
    const ScratchFolder folder(ScratchFolder::temporary("caffe-leveldb-"));
    link_files(fs::absolute(path), folder.path());
    leveldb::Options options;
    options.paranoid_checks = true;
    options.max_open_files = 100;
    leveldb::DB* opened = nullptr;
    check(leveldb::DB::Open(options, folder.path(), &opened));
    const std::unique_ptr<leveldb::DB> database(opened);
    copy_records(*database);
    CAFFE_REQUIRE_CODE(!sizes_.empty(), ErrorCode::kData, "the LevelDB ", path,
                       " is empty, expected at least one record");
  }

  int64_t size() const override { return static_cast<int64_t>(sizes_.size()); }

  Record read(int64_t index) const override {
    const auto at = static_cast<size_t>(index);
    const char* key = map_->data() + starts_[at];
    const uint32_t key_size = sizes_[at].first;
    return {{key, key_size}, {key + key_size, sizes_[at].second}};
  }

 private:
  void check(const leveldb::Status& status) const {
    CAFFE_REQUIRE_CODE(status.ok(), ErrorCode::kData, "cannot read the LevelDB ", name(), ": ",
                       status.ToString());
  }

  // Tables, logs and manifests are only read, or unlinked, by the library; CURRENT is replaced.
  static void link_files(const fs::path& from, const fs::path& to) {
    std::error_code error;
    CAFFE_REQUIRE_CODE(fs::is_directory(from, error), ErrorCode::kIo, "cannot open the LevelDB ",
                       from.string(), ": there is no such folder");
    CAFFE_REQUIRE_CODE(fs::exists(from / "CURRENT", error), ErrorCode::kData, from.string(),
                       " is no LevelDB: it has no file CURRENT");
    try {
      for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
        const std::string file = entry.path().filename().string();
        const std::string kind = entry.path().extension().string();
        if (file == "CURRENT") {
          fs::copy_file(entry.path(), to / file);
          fs::permissions(to / file, fs::perms::owner_write, fs::perm_options::add);
        } else if (kind == ".ldb" || kind == ".sst" || kind == ".log" ||
                   file.starts_with("MANIFEST-")) {
          fs::create_symlink(entry.path(), to / file);
        }
      }
    } catch (const fs::filesystem_error& failure) {
      fail(ErrorCode::kIo, "cannot open the LevelDB ", from.string(), ": ", failure.what());
    }
  }

  void copy_records(leveldb::DB& database) {
    Spool spool;
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    options.fill_cache = false;
    const std::unique_ptr<leveldb::Iterator> at(database.NewIterator(options));
    uint64_t start = 0;
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      const leveldb::Slice key = at->key();
      const leveldb::Slice value = at->value();
      spool.append({key.data(), key.size()});
      spool.append({value.data(), value.size()});
      starts_.push_back(start);
      sizes_.emplace_back(static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size()));
      start += key.size() + value.size();
    }
    check(at->status());
    spool.flush();
    if (start > 0) map_ = std::make_unique<MappedFile>(spool.descriptor(), name());
  }

  std::vector<uint64_t> starts_;
  std::vector<std::pair<uint32_t, uint32_t>> sizes_;  // of key and value
  std::unique_ptr<MappedFile> map_;
};

class LevelDbWriter final : public RecordWriter {
 public:
  explicit LevelDbWriter(const std::string& path) : path_(path), folder_(path + ".part-") {
    leveldb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = size_t{64} << 20;
    leveldb::DB* opened = nullptr;
    check(leveldb::DB::Open(options, folder_.path() + "/store", &opened));
    database_.reset(opened);
  }

  void put(std::string_view key, std::string_view value) override {
    check(database_->Put({}, {key.data(), key.size()}, {value.data(), value.size()}));
  }

  void finish() override {
    database_->CompactRange(nullptr, nullptr);  // so that readers need not replay the log
    database_.reset();
    folder_.move_out("store", path_);
  }

 private:
  void check(const leveldb::Status& status) const {
    CAFFE_REQUIRE_CODE(status.ok(), ErrorCode::kIo, "cannot write the LevelDB ", path_, ": ",
                       status.ToString());
  }

  const std::string path_;
  ScratchFolder folder_;
  std::unique_ptr<leveldb::DB> database_;
};

std::unique_ptr<RecordWriter> create_leveldb(const std::string& path) {
  CAFFE_REQUIRE_CODE(!fs::exists(path), ErrorCode::kIo, "cannot create the LevelDB ", path,
                     ": it exists already; remove it or choose another name");
  return std::make_unique<LevelDbWriter>(path);
}

std::shared_ptr<RecordSource> open_leveldb(const std::string& path) {
  return std::make_shared<LevelDbSource>(path);
}

const bool readable = RecordBackends::add("LEVELDB", open_leveldb);
const bool writable = RecordWriters::add("LEVELDB", create_leveldb);

}  // namespace
}  // namespace caffe

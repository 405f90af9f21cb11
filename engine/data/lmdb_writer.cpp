#include <lmdb.h>
#include <sys/stat.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "data/record_writer.h"
#include "data/scratch_folder.h"

namespace caffe {
namespace {

constexpr size_t kBatchBytes = size_t{16} << 20;  // a transaction holds about this much
constexpr size_t kFirstMap = size_t{64} << 20;

class LmdbWriter final : public RecordWriter {
 public:
  explicit LmdbWriter(const std::string& path) : path_(path), folder_(path + ".part-") {
    check(mdb_env_create(&env_), "set up");
    const std::string store = folder_.path() + "/store";
    try {
      CAFFE_REQUIRE_CODE(::mkdir(store.c_str(), 0777) == 0, ErrorCode::kIo, "cannot create ",
                         store);
      check(mdb_env_set_mapsize(env_, map_size_), "set the map size of");
      // One process writes a file nobody else knows yet: neither locks nor a sync per transaction
      // are needed.
      check(mdb_env_open(env_, store.c_str(), MDB_NOLOCK | MDB_NOSYNC, 0664), "create");
    } catch (...) {
      mdb_env_close(env_);
      throw;
    }
  }

  ~LmdbWriter() override {
    if (env_ != nullptr) mdb_env_close(env_);
  }

  void put(std::string_view key, std::string_view value) override {
    const size_t longest = static_cast<size_t>(mdb_env_get_maxkeysize(env_));
    CAFFE_REQUIRE(!key.empty() && key.size() <= longest, "record key '", key, "' has ", key.size(),
                  " bytes, an LMDB takes 1 to ", longest);
    batch_.emplace_back(key, value);
    batch_bytes_ += key.size() + value.size();
    if (batch_bytes_ >= kBatchBytes) flush();
  }

  void finish() override {
    flush();
    check(mdb_env_sync(env_, 1), "write");
    mdb_env_close(std::exchange(env_, nullptr));
    folder_.move_out("store", path_);
  }

 private:
  void check(int code, const char* what) const {
    CAFFE_REQUIRE_CODE(code == MDB_SUCCESS, ErrorCode::kIo, "cannot ", what, " the LMDB ", path_,
                       ": ", mdb_strerror(code));
  }

  // The batch is kept until it is committed, since a full map means to begin the transaction anew.
  void flush() {
    int code = try_write();
    while (code == MDB_MAP_FULL) {
      map_size_ *= 2;
      check(mdb_env_set_mapsize(env_, map_size_), "enlarge");
      code = try_write();
    }
    check(code, "write");
    batch_.clear();
    batch_bytes_ = 0;
  }

  int try_write() {
    MDB_txn* transaction = nullptr;
    int code = mdb_txn_begin(env_, nullptr, 0, &transaction);
    if (code != MDB_SUCCESS) return code;
    MDB_dbi database = 0;
    code = mdb_dbi_open(transaction, nullptr, 0, &database);
    for (size_t i = 0; i < batch_.size() && code == MDB_SUCCESS; ++i) {
      MDB_val key{batch_[i].first.size(), batch_[i].first.data()};
      MDB_val value{batch_[i].second.size(), batch_[i].second.data()};
      code = mdb_put(transaction, database, &key, &value, 0);
    }
    if (code == MDB_SUCCESS) return mdb_txn_commit(transaction);
    mdb_txn_abort(transaction);
    return code;
  }

  const std::string path_;
  ScratchFolder folder_;
  MDB_env* env_ = nullptr;
  size_t map_size_ = kFirstMap;
  size_t batch_bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> batch_;
};

std::unique_ptr<RecordWriter> create_lmdb(const std::string& path) {
  CAFFE_REQUIRE_CODE(!std::filesystem::exists(path), ErrorCode::kIo, "cannot create the LMDB ",
                     path, ": it exists already; remove it or choose another name");
  return std::make_unique<LmdbWriter>(path);
}

const bool registered = RecordWriters::add("LMDB", create_lmdb);

}  // namespace
}  // namespace caffe

// Read-only access to LMDB files (format of LMDB 0.9, 64-bit little-endian), without liblmdb: no
// lock file, no reader table, and a damaged file gives an error where the library would crash. The
// tree is walked once when the file is opened; after that a record is two views into the map. Pages
// that hold only large values are not touched by the walk.

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "data/mapped_file.h"
#include "data/record_source.h"

namespace caffe {
namespace {

constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kVersion = 1;
constexpr uint64_t kNoPage = ~uint64_t{0};
constexpr size_t kPageHeader = 16;
constexpr size_t kNodeHeader = 8;
constexpr uint16_t kBranchPage = 0x01;
constexpr uint16_t kLeafPage = 0x02;
constexpr uint16_t kMetaPage = 0x08;
constexpr uint16_t kLeaf2Page = 0x20;
constexpr uint16_t kBigData = 0x01;
constexpr uint16_t kSubData = 0x02;
constexpr uint16_t kDupSort = 0x04;
constexpr int kMaxDepth = 32;  // the library's own limit of a cursor's stack

template <typename T>
T load(
    const char* from) {  // the map gives no guarantee of alignment once offsets come from the file
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

struct Tree {
  uint16_t flags = 0;
  uint16_t depth = 0;
  uint64_t branch_pages = 0;
  uint64_t leaf_pages = 0;
  uint64_t entries = 0;
  uint64_t root = kNoPage;
};

struct Meta {
  uint32_t page_size = 0;
  uint64_t last_page = 0;
  uint64_t transaction = 0;
  Tree main;
};

// Where a key and a value lie in the map.
struct Entry {
  const char* key;
  const char* value;
  uint32_t value_size;
  uint16_t key_size;
};

class LmdbSource final : public RecordSource {
 public:
  LmdbSource(const std::string& path, const std::string& file)
      : RecordSource(path), file_(file), map_(file) {
    meta_ = newest_meta();
    const Tree& tree = meta_.main;
    CAFFE_REQUIRE_CODE(
        (tree.flags & kDupSort) == 0, ErrorCode::kData, file_,
        ": has several values per key (MDB_DUPSORT), expected a plain key-value database as "
        "convert_imageset writes");
    CAFFE_REQUIRE_CODE(tree.entries > 0 && tree.root != kNoPage, ErrorCode::kData, file_,
                       ": the database is empty, expected at least one record");
    const uint64_t pages = map_.size() / meta_.page_size + 1;
    check(tree.depth >= 1 && tree.depth <= kMaxDepth, "tree depth ", tree.depth, " is impossible");
    check(tree.branch_pages <= pages && tree.leaf_pages <= pages &&
              tree.entries <= map_.size() / kNodeHeader,
          "its counts (", tree.branch_pages, " branch pages, ", tree.leaf_pages, " leaf pages, ",
          tree.entries, " records) do not fit into a file of ", map_.size(), " bytes");
    pages_left_ = tree.branch_pages + tree.leaf_pages;
    entries_.reserve(tree.entries);
    walk(tree.root, 1);
    check(entries_.size() == tree.entries, "holds ", entries_.size(),
          " records where its header says ", tree.entries);
  }

  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }

  Record read(int64_t index) const override {
    const Entry& entry = entries_[static_cast<size_t>(index)];
    return {{entry.key, entry.key_size}, {entry.value, entry.value_size}};
  }

  // The way from memory takes as long as all else that is done with a small record. The rest of a
  // long one the processor fetches by itself, while it is read from front to back.
  void expect(int64_t index) const override {
    constexpr size_t kLine = 64, kMost = 1024;
    const Entry& entry = entries_[static_cast<size_t>(index)];
    for (size_t at = 0; at < std::min<size_t>(entry.value_size, kMost); at += kLine)
      __builtin_prefetch(entry.value + at);
  }

 private:
  template <typename... Parts>
  void check(bool condition, const Parts&... parts) const {
    if (!condition) [[unlikely]] {
      fail(ErrorCode::kData, file_, ": truncated or damaged LMDB: ", parts...,
           "; copy or create it again");
    }
  }

  bool read_meta(size_t offset, Meta& meta) const {
    // Offsets within a page: header 16; then magic, version, address, map size, two trees of 48
    // bytes, last page, transaction. The first tree's pad field holds the page size.
    if (offset > map_.size() || map_.size() - offset < kPageHeader + 24 + 2 * 48 + 16) return false;
    const char* page = map_.data() + offset;
    const char* body = page + kPageHeader;
    if ((load<uint16_t>(page + 10) & kMetaPage) == 0 || load<uint32_t>(body) != kMagic)
      return false;
    const uint32_t version = load<uint32_t>(body + 4);
    CAFFE_REQUIRE_CODE(version == kVersion, ErrorCode::kData, file_, ": LMDB data format ", version,
                       ", this reader knows format ", kVersion, " (LMDB 0.9)");
    const char* main = body + 24 + 48;
    meta.page_size = load<uint32_t>(body + 24);
    meta.main.flags = load<uint16_t>(main + 4);
    meta.main.depth = load<uint16_t>(main + 6);
    meta.main.branch_pages = load<uint64_t>(main + 8);
    meta.main.leaf_pages = load<uint64_t>(main + 16);
    meta.main.entries = load<uint64_t>(main + 32);
    meta.main.root = load<uint64_t>(main + 40);
    meta.last_page = load<uint64_t>(body + 24 + 96);
    meta.transaction = load<uint64_t>(body + 24 + 96 + 8);
    const uint32_t size = meta.page_size;
    return size >= 256 && size <= 65536 && (size & (size - 1)) == 0;
  }

  Meta newest_meta() const {
    Meta first, second;
    const bool have_first = read_meta(0, first);
    bool have_second = false;
    if (have_first) {
      have_second = read_meta(first.page_size, second);
    } else {
      for (size_t size = 256; size <= 65536 && !have_second; size *= 2)
        have_second = read_meta(size, second);
    }
    CAFFE_REQUIRE_CODE(
        have_first || have_second, ErrorCode::kData, file_,
        ": is not an LMDB data file of a 64-bit little-endian machine (no valid header page)");
    if (!have_second) return first;
    if (!have_first) return second;
    return second.transaction > first.transaction ? second : first;
  }

  // Start of a page whose first `bytes` bytes lie inside the file.
  const char* page_at(uint64_t page, uint64_t bytes) const {
    const uint64_t size = map_.size();
    check(page >= 2 && page <= meta_.last_page, "a link leads to page ", page, " of ",
          meta_.last_page + 1);
    check(page <= size / meta_.page_size, "page ", page, " lies behind the end of the file (", size,
          " bytes)");
    const uint64_t start = page * meta_.page_size;
    check(bytes <= size - start, "page ", page, " (", bytes,
          " bytes) runs over the end of the file (", size, " bytes)");
    return map_.data() + start;
  }

  void walk(uint64_t number, int level) {
    check(pages_left_ > 0, "more tree pages are linked than its header counts");
    --pages_left_;  // also ends every walk around a cycle
    const char* page = page_at(number, meta_.page_size);
    check(load<uint64_t>(page) == number, "page ", number, " carries the number ",
          load<uint64_t>(page));
    const uint16_t flags = load<uint16_t>(page + 10);
    const size_t lower = load<uint16_t>(page + 12);
    const size_t upper = load<uint16_t>(page + 14);
    const bool leaf = level == meta_.main.depth;
    check((flags & (kBranchPage | kLeafPage | kLeaf2Page)) == (leaf ? kLeafPage : kBranchPage),
          "page ", number, " has flags ", flags, ", expected a ", leaf ? "leaf" : "branch");
    // 65536-byte pages would need a wider `upper`; the library stops at 32768 for that reason.
    check(lower >= kPageHeader && lower <= upper && upper <= meta_.page_size && lower % 2 == 0,
          "page ", number, " has impossible bounds ", lower, " and ", upper);
    const size_t nodes = (lower - kPageHeader) / 2;
    for (size_t i = 0; i < nodes; ++i) {
      const size_t offset = load<uint16_t>(page + kPageHeader + 2 * i);
      check(offset >= upper && offset + kNodeHeader <= meta_.page_size, "page ", number, " node ",
            i, " lies at impossible offset ", offset);
      const char* node = page + offset;
      const size_t room = meta_.page_size - offset - kNodeHeader;
      const uint16_t key_size = load<uint16_t>(node + 6);
      check(key_size <= room, "page ", number, " node ", i, " has a key of ", key_size, " bytes");
      if (leaf) {
        add(node, number, key_size, room - key_size);
      } else {
        walk(load<uint32_t>(node) | uint64_t{load<uint16_t>(node + 4)} << 32, level + 1);
      }
    }
  }

  void add(const char* node, uint64_t page, uint16_t key_size, size_t room) {
    const uint32_t value_size = load<uint32_t>(node);
    const uint16_t flags = load<uint16_t>(node + 4);
    const char* key = node + kNodeHeader;
    CAFFE_REQUIRE_CODE((flags & kSubData) == 0, ErrorCode::kData, file_,
                       ": holds the named sub-database '", std::string(key, key_size),
                       "', expected the records themselves; write them into the main database");
    check((flags & ~kBigData) == 0, "a node of page ", page, " has flags ", flags);
    check(entries_.size() < meta_.main.entries, "holds more records than the ", meta_.main.entries,
          " its header says");
    const char* value = key + key_size;
    if ((flags & kBigData) != 0) {
      check(room >= sizeof(uint64_t), "a node of page ", page, " has no room for its link");
      value = page_at(load<uint64_t>(value), kPageHeader + uint64_t{value_size}) + kPageHeader;
    } else {
      check(value_size <= room, "a value of ", value_size, " bytes does not fit into page ", page);
    }
    entries_.push_back({key, value, value_size, key_size});
  }

  std::string file_;
  MappedFile map_;
  Meta meta_;
  uint64_t pages_left_ = 0;
  std::vector<Entry> entries_;
};

std::shared_ptr<RecordSource> open_lmdb(const std::string& path) {
  struct stat status {};
  CAFFE_REQUIRE_CODE(::stat(path.c_str(), &status) == 0, ErrorCode::kIo, "cannot open the LMDB ",
                     path, ": ", std::strerror(errno));
  return std::make_shared<LmdbSource>(path, S_ISDIR(status.st_mode) ? path + "/data.mdb" : path);
}

const bool registered = RecordBackends::add("LMDB", open_lmdb);

}  // namespace
}  // namespace caffe

#include "data/row_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "data/mapped_file.h"

namespace caffe {
namespace {

constexpr std::string_view kMagic = "CAFFEROW";
constexpr size_t kRowHeader = 16;
constexpr size_t kTrailer = 24;
constexpr size_t kFieldHeader = 20;
constexpr uint32_t kMostExtent = uint32_t{1} << 28;

template <typename T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// What the header and the trailer of a file say.
struct Outline {
  std::string name;
  uint64_t rows_begin;
  uint64_t index;
  uint64_t count;
};

template <typename... Parts>
void check(bool condition, const std::string& path, const Parts&... parts) {
  CAFFE_REQUIRE_CODE(condition, ErrorCode::kData, path,
                     ": truncated or damaged file of rows: ", parts...);
}

Outline read_outline(const MappedFile& map, const std::string& path) {
  const uint64_t size = map.size();
  const char* data = map.data();
  const size_t header = kMagic.size() + sizeof(uint32_t);
  check(size >= header + kTrailer && std::string_view(data, kMagic.size()) == kMagic, path,
        "its first bytes are not those of one");
  check(std::string_view(data + size - kMagic.size(), kMagic.size()) == kMagic, path,
        "it was not finished");
  Outline outline;
  const uint64_t name_size = load<uint32_t>(data + kMagic.size());
  check(name_size <= size - header - kTrailer, path, "its name has ", name_size, " bytes");
  outline.name.assign(data + header, name_size);
  outline.rows_begin = header + name_size;
  outline.count = load<uint64_t>(data + size - kTrailer);
  outline.index = load<uint64_t>(data + size - kTrailer + sizeof(uint64_t));
  const uint64_t end = size - kTrailer;
  check(outline.index >= outline.rows_begin && outline.index <= end &&
            outline.count == (end - outline.index) / sizeof(uint64_t) &&
            (end - outline.index) % sizeof(uint64_t) == 0,
        path, "its index of ", outline.count, " rows does not fit");
  check(outline.count > 0, path, "it has no rows");
  return outline;
}

}  // namespace

RowFileWriter::RowFileWriter(const std::string& path, const std::string& name) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CAFFE_REQUIRE_CODE(descriptor_ >= 0, ErrorCode::kIo, "cannot create ", path, ": ",
                     std::strerror(errno));
  const auto size = static_cast<uint32_t>(name.size());
  try {
    write(kMagic.data(), kMagic.size());
    write(&size, sizeof(size));
    write(name.data(), name.size());
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RowFileWriter::~RowFileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RowFileWriter::write(const void* bytes, size_t size) {
  const auto* from = static_cast<const char*>(bytes);
  for (size_t done = 0; done < size;) {
    const ssize_t written = ::write(descriptor_, from + done, size - done);
    if (written < 0 && errno == EINTR) continue;
    CAFFE_REQUIRE_CODE(written >= 0, ErrorCode::kIo, "cannot write rows to ", path_, ": ",
                       std::strerror(errno), "; free some space, or name another local folder");
    done += static_cast<size_t>(written);
  }
  offset_ += size;
}

void RowFileWriter::append(std::string_view rows) {
  CAFFE_REQUIRE(descriptor_ >= 0, path_, ": rows cannot be added to a finished file");
  const uint64_t begin = offset_;
  const size_t before = entries_.size();
  size_t at = 0;
  while (rows.size() - at >= kRowHeader) {
    const uint64_t size = kRowHeader + uint64_t{load<uint32_t>(rows.data() + at + 8)} +
                          load<uint32_t>(rows.data() + at + 12);
    if (size > rows.size() - at) break;
    entries_.push_back({load<int64_t>(rows.data() + at), begin + at});
    at += size;
  }
  if (at != rows.size()) entries_.resize(before);
  CAFFE_REQUIRE(at == rows.size(), path_, ": ", rows.size(), " bytes are no whole rows");
  write(rows.data(), rows.size());
}

int64_t RowFileWriter::finish() {
  CAFFE_REQUIRE(descriptor_ >= 0, path_, ": the file is finished already");
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.order < b.order; });
  const uint64_t index = offset_;
  std::vector<uint64_t> offsets;
  for (const Entry& entry : entries_) offsets.push_back(entry.offset);
  write(offsets.data(), offsets.size() * sizeof(uint64_t));
  const uint64_t trailer[] = {entries_.size(), index};
  write(trailer, sizeof(trailer));
  write(kMagic.data(), kMagic.size());
  const int closed = ::close(std::exchange(descriptor_, -1));
  CAFFE_REQUIRE_CODE(closed == 0, ErrorCode::kIo, "cannot write rows to ", path_, ": ",
                     std::strerror(errno));
  return static_cast<int64_t>(offsets.size());
}

namespace {

class RowFileSource : public RecordSource {
 public:
  RowFileSource(std::unique_ptr<const MappedFile> map, const Outline& outline,
                const std::string& path)
      : RecordSource(outline.name), map_(std::move(map)), outline_(outline), path_(path) {}

  int64_t size() const override { return static_cast<int64_t>(outline_.count); }

  Record read(int64_t index) const override {
    const char* data = map_->data();
    const auto offset =
        load<uint64_t>(data + outline_.index + static_cast<uint64_t>(index) * sizeof(uint64_t));
    check(offset >= outline_.rows_begin && offset <= outline_.index &&
              outline_.index - offset >= kRowHeader,
          path_, "row ", index, " lies at offset ", offset);
    const uint64_t room = outline_.index - offset - kRowHeader;
    const uint64_t key = load<uint32_t>(data + offset + 8);
    const uint64_t value = load<uint32_t>(data + offset + 12);
    check(key + value <= room, path_, "row ", index, " runs over the end");
    const char* at = data + offset + kRowHeader;
    return {{at, key}, {at + key, value}};
  }

 private:
  std::unique_ptr<const MappedFile> map_;
  Outline outline_;
  std::string path_;
};

}  // namespace

std::shared_ptr<const RecordSource> open_row_file(const std::string& path) {
  auto map = std::make_unique<const MappedFile>(path);
  const Outline outline = read_outline(*map, path);
  return std::make_shared<RowFileSource>(std::move(map), outline, path);
}

RowField row_field(std::string_view value, int index) {
  const auto good = [](bool condition) {
    CAFFE_REQUIRE_CODE(condition, ErrorCode::kData, "has damaged fields");
  };
  for (int i = 0;; ++i) {
    CAFFE_REQUIRE_CODE(!value.empty(), ErrorCode::kData, "has ", i, " fields, expected at least ",
                       index + 1);
    good(value.size() >= kFieldHeader);
    const auto number = [&value](size_t at) { return load<uint32_t>(value.data() + at); };
    const uint32_t size = number(16);
    good(size <= value.size() - kFieldHeader);
    if (i < index) {
      value.remove_prefix(kFieldHeader + size);
      continue;
    }
    good(number(0) <= static_cast<uint32_t>(RowFieldKind::kEncoded));
    good(number(4) <= kMostExtent && number(8) <= kMostExtent && number(12) <= kMostExtent);
    return {static_cast<RowFieldKind>(number(0)), static_cast<int>(number(4)),
            static_cast<int>(number(8)), static_cast<int>(number(12)),
            value.substr(kFieldHeader, size)};
  }
}

}  // namespace caffe

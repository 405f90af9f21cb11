#include "io/files.h"

#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/memory.h"

namespace caffe {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargeBytes = 256 << 20;

std::string reason() { return std::strerror(errno); }

void flush_to_disk(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) return;
  const bool failed = ::fsync(fd) != 0 && errno != EINVAL;
  const std::string why = reason();
  ::close(fd);
  CAFFE_REQUIRE_CODE(!failed, ErrorCode::kIo, "cannot write ", path, ": ", why);
}

bool is_device(const std::string& path) {
  std::error_code ignored;
  return fs::is_character_file(path, ignored) || fs::is_block_file(path, ignored);
}

}  // namespace

std::string read_file(const std::string& path) {
  std::error_code ignored;
  CAFFE_REQUIRE_CODE(!fs::is_directory(path, ignored), ErrorCode::kIo, "cannot read ", path,
                     ": it is a folder");
  // A device may have no end.
  CAFFE_REQUIRE_CODE(!is_device(path), ErrorCode::kIo, "cannot read ", path, ": it is a device");
  std::ifstream in(path, std::ios::binary);
  CAFFE_REQUIRE_CODE(in.is_open(), ErrorCode::kIo, "cannot open ", path, ": ", reason());
  std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  CAFFE_REQUIRE_CODE(!in.bad(), ErrorCode::kIo, "cannot read ", path, ": ", reason());
  return content;
}

void write_atomically(const std::string& path,
                      const std::function<void(const std::string&)>& write) {
  // The rename would replace it, and root may do that to /dev/null.
  CAFFE_REQUIRE_CODE(!is_device(path), ErrorCode::kIo, "cannot write ", path, ": it is a device");
  static std::atomic<int> counter{0};
  const std::string temporary = concat(path, ".", ::getpid(), "-", counter++, ".tmp");
  try {
    write(temporary);
    flush_to_disk(temporary);
    CAFFE_REQUIRE_CODE(::rename(temporary.c_str(), path.c_str()) == 0, ErrorCode::kIo,
                       "cannot rename ", temporary, " to ", path, ": ", reason());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file(const std::string& path, const std::string& content) {
  write_atomically(path, [&](const std::string& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    CAFFE_REQUIRE_CODE(out.is_open(), ErrorCode::kIo, "cannot create ", path, ": ", reason());
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    CAFFE_REQUIRE_CODE(!out.fail(), ErrorCode::kIo, "cannot write ", path, ": ", reason());
  });
}

void read_message(const std::string& path, const std::string& what,
                  google::protobuf::Message* message) {
  std::error_code unknown;
  const auto size = static_cast<int64_t>(fs::file_size(path, unknown));
  if (!unknown) {
    CAFFE_REQUIRE_CODE(size <= INT32_MAX, ErrorCode::kData, path, " has ", size,
                       " bytes, and protobuf files end at 2 GiB; it is no ", what,
                       ". Larger models are HDF5 files (snapshot_format: HDF5)");
    // Twice: the bytes, and the message.
    if (size > kLargeBytes) require_memory(2 * size, concat("to read ", path));
  }
  const std::string content = read_file(path);
  google::protobuf::io::ArrayInputStream array(content.data(), static_cast<int>(content.size()));
  google::protobuf::io::CodedInputStream in(&array);
  const bool parsed = content.size() <= INT32_MAX && message->ParseFromCodedStream(&in) &&
                      in.ConsumedEntireMessage();
  CAFFE_REQUIRE_CODE(parsed, ErrorCode::kData, path, " is no ", what, ", or is cut short: its ",
                     content.size(), " bytes are no ", message->GetTypeName(), " message");
}

void write_message(const std::string& path, const google::protobuf::Message& message) {
  CAFFE_REQUIRE(message.ByteSizeLong() <= INT32_MAX, path, " would have ", message.ByteSizeLong(),
                " bytes, and protobuf files end at 2 GiB; use snapshot_format: HDF5");
  std::string bytes;
  message.SerializeToString(&bytes);
  write_file(path, bytes);
}

}  // namespace caffe

#include "data/idx.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace caffe {
namespace {

constexpr uint32_t kImages = 2051;
constexpr uint32_t kLabels = 2049;

// The content of a file, unpacked if it is compressed.
std::string read_all(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  CAFFE_REQUIRE_CODE(file != nullptr, ErrorCode::kIo, "cannot open ", path, ": ",
                     std::strerror(errno));
  std::string content;
  std::string piece(size_t{1} << 20, '\0');
  for (;;) {
    const int size = gzread(file.get(), piece.data(), static_cast<unsigned>(piece.size()));
    int code = Z_OK;
    const char* message = gzerror(file.get(), &code);
    CAFFE_REQUIRE_CODE(size >= 0 && (code == Z_OK || code == Z_STREAM_END), ErrorCode::kData,
                       "cannot read ", path, ": ", message);
    if (size == 0) return content;
    content.append(piece, 0, static_cast<size_t>(size));
  }
}

uint32_t big_endian(const std::string& content, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(content[at + i]);
  return value;
}

IdxFile read_idx(const std::string& path, uint32_t magic, const char* kind) {
  std::string content = read_all(path);
  const size_t header = magic == kImages ? 16 : 8;
  CAFFE_REQUIRE_CODE(content.size() >= header, ErrorCode::kData, path, " has ", content.size(),
                     " bytes, expected an idx file of ", kind, " with a header of ", header);
  const uint32_t found = big_endian(content, 0);
  CAFFE_REQUIRE_CODE(found == magic, ErrorCode::kData, path, " has the magic number ", found,
                     ", expected ", magic, " (an idx file of ", kind, ")");
  IdxFile idx;
  idx.items = big_endian(content, 4);
  uint64_t item_size = 1;
  if (magic == kImages) {
    const uint64_t height = big_endian(content, 8);
    const uint64_t width = big_endian(content, 12);
    CAFFE_REQUIRE_CODE(height > 0 && width > 0 && height < 65536 && width < 65536, ErrorCode::kData,
                       path, " says its images have ", height, " x ", width, " pixels");
    idx.height = static_cast<int>(height);
    idx.width = static_cast<int>(width);
    item_size = height * width;
  }
  const uint64_t wanted = static_cast<uint64_t>(idx.items) * item_size;
  CAFFE_REQUIRE_CODE(content.size() - header == wanted, ErrorCode::kData, path, " holds ",
                     content.size() - header, " bytes after its header, expected ", wanted, " for ",
                     idx.items, " ", kind, " of ", idx.height, " x ", idx.width);
  content.erase(0, header);
  idx.values = std::move(content);
  return idx;
}

}  // namespace

IdxFile read_idx_images(const std::string& path) { return read_idx(path, kImages, "images"); }
IdxFile read_idx_labels(const std::string& path) { return read_idx(path, kLabels, "labels"); }

}  // namespace caffe

#include "data/scratch_folder.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace caffe {

ScratchFolder::ScratchFolder(const std::string& prefix) : path_(prefix + "XXXXXX") {
  CAFFE_REQUIRE_CODE(::mkdtemp(path_.data()) != nullptr, ErrorCode::kIo, "cannot create a folder ",
                     prefix, "...: ", std::strerror(errno));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ScratchFolder::move_out(const std::string& name, const std::string& path) const {
  const std::string from = path_ + "/" + name;
  const bool exists = std::filesystem::exists(path);
  CAFFE_REQUIRE_CODE(!exists && std::rename(from.c_str(), path.c_str()) == 0, ErrorCode::kIo,
                     "cannot rename ", from, " to ", path, ": ",
                     exists ? "it exists already" : std::strerror(errno));
}

std::string ScratchFolder::temporary(const std::string& name) {
  const char* folder = std::getenv("TMPDIR");
  return concat(folder != nullptr && *folder != '\0' ? folder : "/tmp", "/", name);
}

}  // namespace caffe

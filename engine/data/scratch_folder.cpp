#include "data/scratch_folder.h"

#include <sys/stat.h>

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
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

void ScratchFolder::become(const std::string& path) {
  // mkdtemp made it private; a store is for others too, as far as the umask allows (0755 is what it
  // leaves of 0777).
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::chmod(path_.c_str(), 0777 & ~mask);
  CAFFE_REQUIRE_CODE(
      !std::filesystem::exists(path) && std::rename(path_.c_str(), path.c_str()) == 0,
      ErrorCode::kIo, "cannot rename ", path_, " to ", path, ": ",
      std::filesystem::exists(path) ? "it exists already" : std::strerror(errno));
  path_.clear();
}

std::string ScratchFolder::temporary(const std::string& name) {
  const char* folder = std::getenv("TMPDIR");
  return concat(folder != nullptr && *folder != '\0' ? folder : "/tmp", "/", name);
}

}  // namespace caffe

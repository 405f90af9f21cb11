#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace caffe {

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  CAFFE_REQUIRE_CODE(descriptor >= 0, ErrorCode::kIo, "cannot open ", path, ": ",
                     std::strerror(errno));
  try {
    map(descriptor, path);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

void MappedFile::map(int descriptor, const std::string& path) {
  struct stat status {};
  CAFFE_REQUIRE_CODE(::fstat(descriptor, &status) == 0, ErrorCode::kIo, "cannot examine ", path,
                     ": ", std::strerror(errno));
  CAFFE_REQUIRE_CODE(S_ISREG(status.st_mode), ErrorCode::kIo, path, " is not a regular file");
  CAFFE_REQUIRE_CODE(status.st_size > 0, ErrorCode::kData, path, " is empty (0 bytes)");
  size_ = static_cast<size_t>(status.st_size);
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  CAFFE_REQUIRE_CODE(address != MAP_FAILED, ErrorCode::kIo, "cannot map ", path, " (", size_,
                     " bytes): ", std::strerror(errno));
  data_ = static_cast<const char*>(address);
}

}  // namespace caffe

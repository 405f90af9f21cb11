#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace caffe::fuzz {

// A file in memory that holds the input, for readers that want a path.
class ScratchFile {
 public:
  ScratchFile(const uint8_t* data, size_t size) : file_(memfd_create("input", 0)) {
    whole_ = write(file_, data, size) == static_cast<ssize_t>(size);
  }
  ~ScratchFile() { close(file_); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  bool whole() const { return whole_; }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
  bool whole_ = false;
};

}  // namespace caffe::fuzz

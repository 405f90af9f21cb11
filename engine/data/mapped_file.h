#pragma once

#include <cstddef>
#include <string>

namespace caffe {

// A whole file mapped read-only. Only bytes [0, size()) as of opening may be read.
class MappedFile {
 public:
  // Throws kIo, naming the file, if it cannot be opened, is no regular file or is empty.
  explicit MappedFile(const std::string& path);
  // Maps an open descriptor, which stays the caller's; `path` is for messages.
  MappedFile(int descriptor, const std::string& path) { map(descriptor, path); }
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void map(int descriptor, const std::string& path);

  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace caffe

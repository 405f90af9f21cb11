#pragma once

#include <string>

namespace caffe {

// A folder of this process alone, removed with its content at the end.
class ScratchFolder {
 public:
  // Creates "<prefix>XXXXXX" with a random ending. Throws kIo.
  explicit ScratchFolder(const std::string& prefix);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }
  // Gives what is called `name` in this folder its final path; fails if there is something already.
  void move_out(const std::string& name, const std::string& path) const;

  // Prefix in the folder for temporary files (TMPDIR, else /tmp).
  static std::string temporary(const std::string& name);

 private:
  std::string path_;
};

}  // namespace caffe

#pragma once

#include <map>
#include <string>

namespace caffe::onednn {

// What trials found: operations and the names of their kernels, in memory and in a file, which
// other processes may write at the same time. What cannot be read is as if it were not there. Not
// for several threads at once.
class TrialCache {
 public:
  explicit TrialCache(const std::string& path);  // empty: in memory only

  // Empty where the operation is not known.
  std::string find(const std::string& operation) const;
  void add(const std::string& operation, const std::string& kernel);

 private:
  void read();
  bool write() const;

  std::string path_;
  bool writes_;
  std::map<std::string, std::string> kernels_;
};

// The one of this machine's user: of XDG_CACHE_HOME, or else HOME, as they are now.
TrialCache& trial_cache();

}  // namespace caffe::onednn

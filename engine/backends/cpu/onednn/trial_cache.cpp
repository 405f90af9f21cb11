#include "backends/cpu/onednn/trial_cache.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ios>
#include <oneapi/dnnl/dnnl.hpp>

#include "core/log.h"

namespace caffe::onednn {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;  // of the file

// The lines about the first processor that do not change from boot to boot.
std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  std::string all;
  for (std::string line; std::getline(in, line) && !line.empty();) {
    for (const char* name : {"vendor_id", "cpu family", "model", "stepping", "cache size"}) {
      if (line.starts_with(name)) all += line + '\n';
    }
  }
  return all;
}

std::string file_name() {
  const dnnl_version_t& version = *dnnl_version();
  const std::string machine =
      concat(processor(), version.major, '.', version.minor, '.', version.patch, ' ', version.hash,
             ' ', static_cast<int>(dnnl::get_effective_cpu_isa()), ' ', kFormat);
  return concat("kernels-", std::hex, std::hash<std::string>()(machine), ".txt");
}

std::string path_of_now() {
  static const std::string name = file_name();
  const char* caches = std::getenv("XDG_CACHE_HOME");
  if (caches != nullptr && *caches != '\0') return concat(caches, "/caffeonspark/", name);
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? concat(home, "/.cache/caffeonspark/", name) : "";
}

}  // namespace

TrialCache::TrialCache(const std::string& path) : path_(path), writes_(!path.empty()) { read(); }

std::string TrialCache::find(const std::string& operation) const {
  const auto found = kernels_.find(operation);
  return found == kernels_.end() ? "" : found->second;
}

void TrialCache::add(const std::string& operation, const std::string& kernel) {
  kernels_[operation] = kernel;
  if (!writes_) return;
  read();
  writes_ = write();
  if (!writes_)
    CAFFE_LOG_WARNING("cannot write ", path_, ": which kernels are fast is not kept for later");
}

// A line: operation, tab, kernel. Known ones stay as they are.
void TrialCache::read() {
  std::error_code ignored;
  if (path_.empty() || !fs::is_regular_file(path_, ignored)) return;
  std::ifstream in(path_, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const size_t tab = line.find('\t');
    if (tab == 0 || tab == line.npos || tab + 1 == line.size()) continue;
    kernels_.emplace(line.substr(0, tab), line.substr(tab + 1));
  }
}

bool TrialCache::write() const {
  std::error_code failed;
  fs::create_directories(fs::path(path_).parent_path(), failed);
  std::string temporary = path_ + ".XXXXXX";
  const int file = ::mkstemp(temporary.data());
  if (file < 0) return false;
  ::close(file);
  std::ofstream out(temporary, std::ios::binary);
  for (const auto& [operation, kernel] : kernels_) out << operation << '\t' << kernel << '\n';
  out.close();
  if (!out.fail()) fs::rename(temporary, path_, failed);
  if (!out.fail() && !failed) return true;
  ::unlink(temporary.c_str());
  return false;
}

TrialCache& trial_cache() {
  static std::map<std::string, TrialCache> caches;
  const std::string path = path_of_now();
  return caches.try_emplace(path, path).first->second;
}

}  // namespace caffe::onednn

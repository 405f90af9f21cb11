#include "core/shared_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <sstream>

#include "core/error.h"

namespace caffe {

std::vector<std::string> folders_of(const std::string& path) {
  std::istringstream parts(path);
  std::vector<std::string> all;
  for (std::string folder; std::getline(parts, folder, ':');) {
    if (!folder.empty()) all.push_back(folder);
  }
  return all;
}

void* find_library(const std::string& file, const std::vector<std::string>& folders,
                   const char* what, std::string* searched) {
  for (const std::string& folder : folders) {
    const std::string full = folder + "/" + file;
    *searched += (searched->empty() ? "" : ", ") + folder;
    if (access(full.c_str(), F_OK) == 0) return load_library(full, what);
  }
  *searched += searched->empty() ? "the system's folders" : ", the system's folders";
  return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
}

void* load_library(const std::string& path, const char* what) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  CAFFE_REQUIRE(library, "the ", what, " in ", path, " cannot be loaded: ", dlerror());
  return library;
}

void* library_function(void* library, const char* name) { return dlsym(library, name); }

}  // namespace caffe

#include "data/hdf5_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"

namespace caffe {
namespace {

// Debian and Ubuntu call the library libhdf5_serial, others libhdf5; the numbers are those
// of 1.10, 1.12 and 1.14.
std::vector<std::string> candidates() {
  std::vector<std::string> names;
  if (const char* chosen = std::getenv("CAFFE_HDF5_LIBRARY")) names.emplace_back(chosen);
  for (const char* version : {".103", ".200", ".310", ""}) {
    names.push_back(std::string("libhdf5_serial.so") + version);
    names.push_back(std::string("libhdf5.so") + version);
  }
  return names;
}

void* open_library() {
  for (const std::string& name : candidates()) {
    if (void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  fail(ErrorCode::kIo,
       "libhdf5 not found: install it (Debian, Ubuntu: apt-get install libhdf5-103-1, or "
       "libhdf5-310 on newer ones), or "
       "name its file in the environment variable CAFFE_HDF5_LIBRARY");
}

void* symbol(void* library, const char* name) {
  void* address = ::dlsym(library, name);
  CAFFE_REQUIRE_CODE(address != nullptr, ErrorCode::kIo, "libhdf5 has no function ", name,
                     ": version 1.10 or later is needed");
  return address;
}

hid_t type_number(void* library, const char* name) {
  return *static_cast<hid_t*>(symbol(library, name));
}

Hdf5Library load() {
  void* handle = open_library();  // never closed: the library registers work to be done at exit
  Hdf5Library library;
#define CAFFE_HDF5_LOAD(name) \
  library.name = reinterpret_cast<decltype(library.name)>(symbol(handle, #name));
  CAFFE_HDF5_FUNCTIONS(CAFFE_HDF5_LOAD)
#undef CAFFE_HDF5_LOAD
  unsigned major = 0, minor = 0, release = 0;
  library.H5get_libversion(&major, &minor, &release);
  CAFFE_REQUIRE_CODE(major > 1 || (major == 1 && minor >= 10), ErrorCode::kIo,
                     "libhdf5 is version ", major, ".", minor, ".", release,
                     ", expected 1.10 or later");
  CAFFE_REQUIRE_CODE(library.H5open() >= 0, ErrorCode::kIo, "libhdf5 cannot be started");
  library.H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // errors are ours to report
  library.native_float = type_number(handle, "H5T_NATIVE_FLOAT_g");
  library.native_int = type_number(handle, "H5T_NATIVE_INT_g");
  library.native_llong = type_number(handle, "H5T_NATIVE_LLONG_g");
  library.c_string = type_number(handle, "H5T_C_S1_g");
  return library;
}

}  // namespace

const Hdf5Library& hdf5_library() {
  static const Hdf5Library library = load();
  return library;
}

std::mutex& hdf5_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace caffe

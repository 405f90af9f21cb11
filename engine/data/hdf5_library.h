#pragma once

#include <hdf5.h>

#include <mutex>

namespace caffe {

// The functions of libhdf5 that we use, found with dlopen; hdf5.h gives the types alone. The names
// with a number are the ones that its macros stand for, so that the ABI does not depend on the
// header's version.
// clang-format finds no lasting layout for this list.
// clang-format off
#define CAFFE_HDF5_FUNCTIONS(X) \
  X(H5open) X(H5get_libversion) X(H5Eset_auto2) X(H5Fopen) X(H5Fcreate) X(H5Fclose) X(H5Fflush) \
  X(H5Gcreate2) X(H5Gopen2) X(H5Gclose) X(H5Gget_info) X(H5Lexists) X(H5Lget_name_by_idx) \
  X(H5Dopen2) X(H5Dcreate2) X(H5Dclose) X(H5Dget_space) X(H5Dget_type) X(H5Dread) X(H5Dwrite) \
  X(H5Screate) X(H5Screate_simple) X(H5Sclose) X(H5Sget_simple_extent_ndims) \
  X(H5Sget_simple_extent_dims) X(H5Sget_simple_extent_npoints) X(H5Tget_class) X(H5Tget_size) \
  X(H5Tis_variable_str) X(H5Tcopy) X(H5Tset_size) X(H5Tclose) X(H5free_memory)
// clang-format on

struct Hdf5Library {
#define CAFFE_HDF5_MEMBER(name) decltype(&::name) name = nullptr;
  CAFFE_HDF5_FUNCTIONS(CAFFE_HDF5_MEMBER)
#undef CAFFE_HDF5_MEMBER
  // Numbers of types, which the library makes when it starts.
  hid_t native_float = 0;
  hid_t native_int = 0;
  hid_t native_llong = 0;
  hid_t c_string = 0;
};

// Loads the library at the first call. Throws kIo if there is none or it is older than 1.10.
const Hdf5Library& hdf5_library();

// The library is not made for several threads: every use holds this.
std::mutex& hdf5_mutex();

}  // namespace caffe

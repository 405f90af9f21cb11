# Where the libraries come from. ci/deps.sh fills CAFFE_DEPS_DIR with those that Debian does not offer in the form
# needed: oneDNN (out of its Maven jar) and a static, position-independent protobuf.
set(CAFFE_DEPS_DIR "$ENV{CAFFE_DEPS_DIR}" CACHE PATH "Folder that ci/deps.sh filled")
if(NOT CAFFE_DEPS_DIR)
  set(CAFFE_DEPS_DIR "${CMAKE_SOURCE_DIR}/build/deps")
endif()

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
set(OPENSSL_USE_STATIC_LIBS TRUE)
set(ZLIB_USE_STATIC_LIBS TRUE)
find_package(OpenSSL 3 REQUIRED COMPONENTS SSL Crypto)
find_package(ZLIB REQUIRED)

# Under a name of our own (ci/deps.sh): a process holds one library of a name, and may hold another oneDNN already.
set(caffe_dnnl_name libcaffe_dnnl.so.3)
add_library(caffe_dnnl SHARED IMPORTED)
set_target_properties(caffe_dnnl PROPERTIES
  IMPORTED_LOCATION "${CAFFE_DEPS_DIR}/dnnl/lib/${caffe_dnnl_name}"
  IMPORTED_SONAME ${caffe_dnnl_name}
  INTERFACE_INCLUDE_DIRECTORIES "${CAFFE_DEPS_DIR}/dnnl/include")
# What travels beside our own libraries.
set(CAFFE_RUNTIME_LIBRARIES ${CAFFE_DEPS_DIR}/dnnl/lib/${caffe_dnnl_name} ${CAFFE_DEPS_DIR}/dnnl/shipped/libgomp.so.1)

find_program(PROTOC protoc REQUIRED)
add_library(caffe_protobuf INTERFACE)
if(EXISTS "${CAFFE_DEPS_DIR}/protobuf/lib/libprotobuf.a")
  target_include_directories(caffe_protobuf SYSTEM INTERFACE "${CAFFE_DEPS_DIR}/protobuf/include")
  target_link_libraries(caffe_protobuf INTERFACE "${CAFFE_DEPS_DIR}/protobuf/lib/libprotobuf.a" ZLIB::ZLIB Threads::Threads)
else()
  target_link_libraries(caffe_protobuf INTERFACE protobuf)
endif()

# Archives that can go into a shared library, so that the natives need only libc, libstdc++ and oneDNN. ci/deps.sh builds
# those that Debian's packages do not offer position-independent.
foreach(name lmdb leveldb snappy jpeg png)
  find_library(CAFFE_${name}_LIBRARY NAMES lib${name}.a ${name} HINTS ${CAFFE_DEPS_DIR}/${name}/lib REQUIRED)
  add_library(caffe_${name} UNKNOWN IMPORTED)
  set_target_properties(caffe_${name} PROPERTIES IMPORTED_LOCATION ${CAFFE_${name}_LIBRARY})
endforeach()
target_link_libraries(caffe_png INTERFACE ZLIB::ZLIB)
target_link_libraries(caffe_leveldb INTERFACE caffe_snappy)

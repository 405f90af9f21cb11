#pragma once

#include <exception>
#include <new>
#include <string>

#include "capi/caffe_c.h"
#include "core/error.h"

namespace caffe::capi {

// Remembers what caffe_last_error() gives on this thread, and returns `status`.
int set_last_error(int status, const char* message) noexcept;

// Runs `work`; an exception becomes a status, and its text this thread's last error.
template <typename Work>
int guarded(Work&& work) noexcept {
  try {
    work();
    return CAFFE_OK;
  } catch (const Error& error) {
    return set_last_error(static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return set_last_error(
        CAFFE_INTERNAL, "out of memory; use a smaller batch size or give the process more memory");
  } catch (const std::exception& error) {
    return set_last_error(CAFFE_INTERNAL, error.what());
  } catch (...) {
    return set_last_error(CAFFE_INTERNAL, "an unknown exception");
  }
}

// Pointers that a caller must give.
template <typename T>
T* given(T* pointer, const char* what) {
  CAFFE_REQUIRE(pointer != nullptr, what, " is NULL");
  return pointer;
}

}  // namespace caffe::capi

#pragma once

#include <string>
#include <vector>

namespace caffe {

// Libraries from outside, which are found by their names at run time and stay loaded.

// The parts of "a:b:c" that are not empty.
std::vector<std::string> folders_of(const std::string& path);

// Loads `file` from the first of the folders that has it, else from where the system's loader
// finds it. A library that is there and cannot be loaded is an error that calls it `what`. Null
// where it is nowhere; `searched` then lists where it was looked for.
void* find_library(const std::string& file, const std::vector<std::string>& folders,
                   const char* what, std::string* searched);

// Loads the library of this path.
void* load_library(const std::string& path, const char* what);

// Null where the library has no such function.
void* library_function(void* library, const char* name);

}  // namespace caffe

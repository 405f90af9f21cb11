#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>

#include "core/precision.h"

namespace caffe::capi {

// The text "key=value", one a line. Errors (kInvalidArgument) start with `function` and name the
// option.
class Options {
 public:
  // `text` may be NULL. A key that is not `known`, or comes twice, is an error.
  Options(const char* function, const char* text, std::initializer_list<const char*> known);

  bool has(const std::string& key) const { return values_.count(key) > 0; }
  std::string text(const std::string& key, const std::string& otherwise = "") const;
  int64_t integer(const std::string& key, int64_t otherwise, int64_t least) const;
  bool flag(const std::string& key, bool otherwise = false) const;  // 0 or 1
  Precision precision() const;  // of the key "precision"; not given: f32

 private:
  std::string function_;
  std::map<std::string, std::string> values_;
};

}  // namespace caffe::capi

#pragma once

#include <map>
#include <string>
#include <utility>

#include "core/error.h"

namespace caffe {

// Names to things, filled by static registrars. `Tag` gives each registry a type and `Tag::kKind`
// the word that its error uses: "Unknown layer type: Foo (known types: ...)".
template <typename Tag, typename Value>
class Registry {
 public:
  static bool add(const std::string& name, Value value) {
    const bool fresh = entries().emplace(name, std::move(value)).second;
    CAFFE_REQUIRE_CODE(fresh, ErrorCode::kInternal, Tag::kKind, " type ", name,
                       " is registered twice");
    return fresh;
  }

  static bool has(const std::string& name) { return entries().count(name) > 0; }

  static const Value& get(const std::string& name) {
    const auto it = entries().find(name);
    CAFFE_REQUIRE(it != entries().end(), "Unknown ", Tag::kKind, " type: ", name,
                  " (known types: ", names(), ")");
    return it->second;
  }

  static std::string names() {  // "A, B, C"
    std::string all;
    for (const auto& entry : entries()) all += (all.empty() ? "" : ", ") + entry.first;
    return all;
  }

  static const std::map<std::string, Value>& all() { return entries(); }

 private:
  static std::map<std::string, Value>& entries() {
    static std::map<std::string, Value> map;
    return map;
  }
};

}  // namespace caffe

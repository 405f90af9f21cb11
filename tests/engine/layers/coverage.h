#pragma once

#include <map>
#include <set>
#include <sstream>
#include <string>

#include "layers/layer.h"

namespace caffe::testing {

inline std::set<std::string> registered_layers() {
  std::set<std::string> types;
  std::istringstream names(LayerRegistry::names());
  for (std::string type; std::getline(names >> std::ws, type, ',');) types.insert(type);
  return types;
}

// The registered layer types that are neither covered nor have a reason (type -> why) not to be, as
// text.
inline std::string uncovered_layers(const std::set<std::string>& covered,
                                    const std::map<std::string, std::string>& reasons) {
  std::string missing;
  for (const std::string& type : registered_layers()) {
    if (covered.count(type) == 0 && reasons.count(type) == 0) missing += type + " ";
  }
  return missing;
}

}  // namespace caffe::testing

#include "capi/options.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/error.h"

namespace caffe::capi {

Options::Options(const char* function, const char* text, std::initializer_list<const char*> known)
    : function_(function) {
  std::istringstream lines(text ? text : "");
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    CAFFE_REQUIRE(equals != std::string::npos, function_, ": the option line '", line,
                  "' is not of the form key=value");
    const std::string key = line.substr(0, equals);
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      std::string names;
      for (const char* name : known) names += (names.empty() ? "" : ", ") + std::string(name);
      fail(ErrorCode::kInvalidArgument, function_, ": unknown option '", key,
           "' (known options: ", names, ")");
    }
    CAFFE_REQUIRE(values_.emplace(key, line.substr(equals + 1)).second, function_, ": option '",
                  key, "' is given twice");
  }
}

std::string Options::text(const std::string& key, const std::string& otherwise) const {
  const auto it = values_.find(key);
  return it == values_.end() ? otherwise : it->second;
}

int64_t Options::integer(const std::string& key, int64_t otherwise, int64_t least) const {
  const auto it = values_.find(key);
  if (it == values_.end()) return otherwise;
  const std::string& value = it->second;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  CAFFE_REQUIRE(error == std::errc() && end == value.data() + value.size() && number >= least,
                function_, ": option '", key, "' is '", value, "'; a whole number of at least ",
                least, " is expected");
  return number;
}

bool Options::flag(const std::string& key, bool otherwise) const {
  const std::string value = text(key, otherwise ? "1" : "0");
  CAFFE_REQUIRE(value == "0" || value == "1", function_, ": option '", key, "' is '", value,
                "'; use 0 or 1");
  return value == "1";
}

Precision Options::precision() const {
  return parse_precision(text("precision", "f32"), function_ + ": option 'precision'");
}

}  // namespace caffe::capi

#pragma once

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <stdexcept>
#include <string>

namespace caffe::testing {

using JsonValue = google::protobuf::Value;

inline JsonValue parse_json(const std::string& text) {
  JsonValue value;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &value);
  if (!status.ok()) throw std::runtime_error("json: " + status.ToString());
  return value;
}

// Member of an object. Throws where there is none.
inline const JsonValue& member(const JsonValue& object, const std::string& name) {
  const auto& fields = object.struct_value().fields();
  const auto it = fields.find(name);
  if (it == fields.end()) throw std::runtime_error("json: no member " + name);
  return it->second;
}

}  // namespace caffe::testing

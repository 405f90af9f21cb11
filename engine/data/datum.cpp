#include "data/datum.h"

#include <cstring>

namespace caffe {
namespace {

constexpr int kMaxGroupDepth = 100;  // protobuf's default limit of nesting
constexpr uint64_t kMaxLength = 0x7fffffff - 16;

enum WireType {
  kVarint = 0,
  kFixed64 = 1,
  kLength = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5
};

// Walks over a message field by field; every step stays inside [at_, end_).
class WireReader {
 public:
  explicit WireReader(std::string_view wire) : at_(wire.data()), end_(wire.data() + wire.size()) {}

  bool done() const { return at_ == end_; }

  bool varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) return false;
      const auto byte = static_cast<unsigned char>(*at_++);
      value |= shift < 64 ? uint64_t{byte & 0x7fu} << shift : 0;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool tag(uint32_t& field, int& type) {
    const char* start = at_;
    uint64_t value = 0;
    if (!varint(value) || at_ - start > 5) return false;
    field = static_cast<uint32_t>(value) >> 3;
    type = static_cast<int>(value & 7);
    return field != 0;
  }

  bool bytes(std::string_view& view) {
    const char* start = at_;
    uint64_t size = 0;
    if (!varint(size) || at_ - start > 5 || size > kMaxLength) return false;
    if (size > static_cast<uint64_t>(end_ - at_)) return false;
    view = {at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }

  bool fixed(size_t size, std::string_view& view) {
    if (static_cast<size_t>(end_ - at_) < size) return false;
    view = {at_, size};
    at_ += size;
    return true;
  }

  // Steps over a field of unknown meaning.
  bool skip(uint32_t field, int type, int depth = 0) {
    uint64_t number = 0;
    std::string_view view;
    switch (type) {
      case kVarint:
        return varint(number);
      case kFixed64:
        return fixed(8, view);
      case kLength:
        return bytes(view);
      case kFixed32:
        return fixed(4, view);
      case kStartGroup:
        return skip_group(field, depth + 1);
      default:
        return false;
    }
  }

 private:
  bool skip_group(uint32_t group, int depth) {
    if (depth > kMaxGroupDepth) return false;
    for (;;) {
      uint32_t field = 0;
      int type = 0;
      if (!tag(field, type)) return false;
      if (type == kEndGroup) return field == group;
      if (!skip(field, type, depth)) return false;
    }
  }

  const char* at_;
  const char* end_;
};

// Calls on_floats for each piece of float_data: packed runs and single values alike.
template <typename OnFloats>
bool walk(std::string_view wire, DatumView& datum, OnFloats on_floats) {
  WireReader reader(wire);
  while (!reader.done()) {
    uint32_t field = 0;
    int type = 0;
    if (!reader.tag(field, type)) return false;
    std::string_view view;
    uint64_t number = 0;
    if (type == kVarint && field != 4 && field != 6 && field <= 7) {
      if (!reader.varint(number)) return false;
      switch (field) {
        case 1:
          datum.channels = static_cast<int32_t>(number);
          break;
        case 2:
          datum.height = static_cast<int32_t>(number);
          break;
        case 3:
          datum.width = static_cast<int32_t>(number);
          break;
        case 5:
          datum.label = static_cast<int32_t>(number);
          break;
        default:
          datum.encoded = number != 0;
      }
    } else if (field == 4 && type == kLength) {
      if (!reader.bytes(datum.data)) return false;
    } else if (field == 6 && type == kFixed32) {
      if (!reader.fixed(sizeof(float), view)) return false;
      on_floats(view);
    } else if (field == 6 && type == kLength) {
      if (!reader.bytes(view) || view.size() % sizeof(float) != 0) return false;
      on_floats(view);
    } else if (!reader.skip(field, type)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool try_parse_datum(std::string_view value, DatumView& datum) {
  datum = {};
  datum.wire = value;
  return walk(value, datum, [&datum](std::string_view floats) {
    datum.float_count += static_cast<int64_t>(floats.size() / sizeof(float));
  });
}

DatumView parse_datum(const Record& record, const std::string& source) {
  DatumView datum;
  CAFFE_REQUIRE_CODE(try_parse_datum(record.value, datum), ErrorCode::kData, "record '", record.key,
                     "' of ", source, " is no Datum (", record.value.size(),
                     " bytes that do not parse); the store must hold what convert_imageset writes");
  return datum;
}

void copy_float_data(const DatumView& datum, float* out) {
  DatumView ignored;
  walk(datum.wire, ignored, [&out](std::string_view floats) {
    if (floats.empty()) return;  // `out` may be null then
    std::memcpy(out, floats.data(), floats.size());
    out += floats.size() / sizeof(float);
  });
}

}  // namespace caffe

#include "data/plugin_source.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "core/shared_library.h"
#include "data/caffe_data.h"
#include "proto/caffe.pb.h"

namespace caffe {
namespace {

// What a plug-in's function writes its reason to.
struct Reason {
  std::array<char, 512> text{};
  std::string str() {
    text.back() = '\0';
    return text[0] ? text.data() : "it gave no reason";
  }
};

// What a thread's last record lies in.
struct Shelf {
  std::vector<float> room;  // floats for their alignment
  Datum datum;
  std::string key;
  std::string value;
};

Shelf& shelf() {
  thread_local Shelf mine;
  return mine;
}

void* give_room(caffe_data_record* record, uint64_t bytes) {
  auto& room = static_cast<Shelf*>(record->own)->room;
  try {
    const uint64_t floats = bytes / sizeof(float) + 1;
    if (room.size() < floats) room.resize(floats);
    return room.data();
  } catch (const std::exception&) {
    return nullptr;
  }
}

// Records become Datum messages, as if they lay in a store of the engine's own.
class PluginRecords final : public RecordSource {
 public:
  PluginRecords(const std::string& format, const caffe_data_api& api, const std::string& path)
      : RecordSource(path), format_(format), api_(api) {
    Reason reason;
    store_.reset(api.open(path.c_str(), reason.text.data(), reason.text.size()));
    CAFFE_REQUIRE_CODE(store_, ErrorCode::kIo, "cannot open ", path, " as ", format, ": ",
                       reason.str());
    size_ = api.count(store_.get());
    CAFFE_REQUIRE_CODE(size_ > 0, ErrorCode::kData, path, " has ", size_,
                       " records, expected at least one");
  }

  int64_t size() const override { return size_; }

  Record read(int64_t index) const override {
    Shelf& mine = shelf();
    mine.key = key(index);
    caffe_data_record record{};
    record.size = sizeof(record);
    record.room = give_room;
    record.own = &mine;
    Reason reason;
    CAFFE_REQUIRE_CODE(
        api_.read(store_.get(), index, &record, reason.text.data(), reason.text.size()) == 0,
        ErrorCode::kData, "record '", mine.key, "' of ", name(), " cannot be read: ", reason.str());
    fill(record, &mine);
    return {mine.key, mine.value};
  }

 private:
  std::string key(int64_t index) const {
    std::array<char, 512> text{};
    if (api_.key) {
      api_.key(store_.get(), index, text.data(), text.size());
      text.back() = '\0';
    } else {
      std::snprintf(text.data(), text.size(), "%08lld", static_cast<long long>(index));
    }
    return text.data();
  }

  void fill(const caffe_data_record& record, Shelf* mine) const {
    const auto where = [&] { return concat("record '", mine->key, "' of ", name(), " "); };
    const int given =
        (record.pixels != nullptr) + (record.values != nullptr) + (record.file != nullptr);
    CAFFE_REQUIRE_CODE(given == 1, ErrorCode::kData, where(), "has ", given,
                       " of pixels, values and file; ", format_, " must give exactly one");
    Datum* datum = &mine->datum;
    datum->Clear();
    datum->set_label(record.label);
    datum->set_encoded(record.file != nullptr);
    if (record.file) {
      datum->set_data(record.file, record.file_bytes);
    } else {
      fill_values(record, where(), datum);
    }
    CAFFE_REQUIRE_CODE(datum->SerializeToString(&mine->value), ErrorCode::kData, where(),
                       "is too large");
  }

  void fill_values(const caffe_data_record& record, const std::string& where, Datum* datum) const {
    CAFFE_REQUIRE_CODE(record.channels > 0 && record.height > 0 && record.width > 0,
                       ErrorCode::kData, where, "is ", record.channels, " x ", record.height, " x ",
                       record.width, "; ", format_, " must give positive numbers");
    datum->set_channels(record.channels);
    datum->set_height(record.height);
    datum->set_width(record.width);
    const int64_t rows = int64_t{record.channels} * record.height;
    CAFFE_REQUIRE_CODE(record.width <= std::numeric_limits<int32_t>::max() / rows, ErrorCode::kData,
                       where, "is too large");
    const auto count = static_cast<size_t>(rows * record.width);
    if (record.pixels) {
      datum->set_data(record.pixels, count);
    } else {
      datum->mutable_float_data()->Add(record.values, record.values + count);
    }
  }

  struct Close {
    const caffe_data_api* api;
    void operator()(void* store) const { api->close(store); }
  };

  const std::string format_;
  const caffe_data_api& api_;
  std::unique_ptr<void, Close> store_{nullptr, Close{&api_}};
  int64_t size_ = 0;
};

void* find_format(const std::string& library) {
  if (library.find('/') != std::string::npos) return load_library(library, "data format");
  const char* more = std::getenv("CAFFE_DATA_PATH");
  std::vector<std::string> folders = folders_of(more ? more : "");
  folders.emplace_back(".");
  std::string searched;
  void* found = find_library(library, folders, "data format", &searched);
  CAFFE_REQUIRE(found, "there is no ", library, " in ", searched, "; CAFFE_DATA_PATH adds folders");
  return found;
}

}  // namespace

bool is_plugin(const std::string& backend) { return backend.ends_with(".so"); }

std::shared_ptr<RecordSource> open_plugin_records(const std::string& library,
                                                  const std::string& path) {
  using Entry = const caffe_data_api* (*)();
  const auto entry =
      reinterpret_cast<Entry>(library_function(find_format(library), "caffe_data_entry"));
  CAFFE_REQUIRE(entry, library, " is no data format: it has no function caffe_data_entry");
  const caffe_data_api* api = entry();
  CAFFE_REQUIRE(api && api->version == CAFFE_DATA_VERSION && api->size >= sizeof(caffe_data_api),
                library, " was built for version ", api ? api->version : 0,
                " of caffe_data.h; this program needs ", CAFFE_DATA_VERSION, ": build it anew");
  return std::make_shared<PluginRecords>(library, *api, path);
}

}  // namespace caffe

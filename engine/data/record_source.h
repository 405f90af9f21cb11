#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/registry.h"

namespace caffe {

struct Record {
  std::string_view key;
  std::string_view value;
};

// The records of a store, numbered from 0 in key order. All members may be called by several
// threads at once.
class RecordSource {
 public:
  explicit RecordSource(std::string name) : name_(std::move(name)) {}
  virtual ~RecordSource() = default;
  RecordSource(const RecordSource&) = delete;
  RecordSource& operator=(const RecordSource&) = delete;

  // Number of records, at least 1: an empty store is an error when it is opened.
  virtual int64_t size() const = 0;
  // Views live as long as the source (a plug-in's: to the thread's next read). 0 <= index < size().
  virtual Record read(int64_t index) const = 0;
  // The record will be read soon: may bring it nearer.
  virtual void expect(int64_t index) const { (void)index; }
  // Path under which the store was opened, for messages.
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

// Kinds of store by the name that `data_param { backend: ... }` uses. A new kind registers itself
// in its own file.
struct RecordBackendTag {
  static constexpr const char* kKind = "record store";
};
using RecordOpener = std::function<std::shared_ptr<RecordSource>(const std::string& path)>;
using RecordBackends = Registry<RecordBackendTag, RecordOpener>;

// Opens a store for reading, without files left behind, locks and write permission. A backend that
// is not built in is a format from outside (data/plugin_source.h). Errors name file and mistake.
std::shared_ptr<RecordSource> open_records(const std::string& backend, const std::string& path);

}  // namespace caffe

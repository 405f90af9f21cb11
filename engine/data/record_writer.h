#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/registry.h"

namespace caffe {

// Creates a store of records. Nothing is at `path` until finish(): a program that stops before
// leaves no half store.
class RecordWriter {
 public:
  virtual ~RecordWriter() = default;
  RecordWriter() = default;
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  // Keys may come in any order, ascending ones are written faster; of two equal keys the later
  // value counts.
  virtual void put(std::string_view key, std::string_view value) = 0;
  // Writes everything to the disk and puts the store in its place. Must be called, once, after the
  // last put.
  virtual void finish() = 0;
};

struct RecordWriterTag {
  static constexpr const char* kKind = "record store";
};
using RecordWriters =
    Registry<RecordWriterTag,
             std::function<std::unique_ptr<RecordWriter>(const std::string& path)>>;

// `backend` as in open_records. Throws kIo if `path` exists already or cannot be created.
std::unique_ptr<RecordWriter> create_records(const std::string& backend, const std::string& path);

}  // namespace caffe

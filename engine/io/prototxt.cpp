#include "io/prototxt.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <filesystem>

#include "core/error.h"
#include "io/files.h"
#include "net/upgrade.h"

namespace caffe {
namespace {

// Keeps the first error; positions become 1-based.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = concat(line + 1, ":", column + 1, ": ", message);
  }
  void AddWarning(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

void parse_text(const std::string& text, const std::string& file,
                google::protobuf::Message* message) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  const bool parsed = parser.ParseFromString(text, message);
  CAFFE_REQUIRE(parsed, file, ":",
                error.text().empty() ? "1:1: this is no " + message->GetTypeName() : error.text());
}

std::string print_text(const google::protobuf::Message& message) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}

NetParameter parse_net(const std::string& text, const std::string& file) {
  NetParameter net;
  parse_text(text, file, &net);
  upgrade_net(file, &net);
  return net;
}

NetParameter read_net(const std::string& path) { return parse_net(read_file(path), path); }

SolverParameter parse_solver(const std::string& text, const std::string& file) {
  SolverParameter solver;
  parse_text(text, file, &solver);
  upgrade_solver(file, &solver);
  return solver;
}

SolverParameter read_solver(const std::string& path) {
  SolverParameter solver = parse_solver(read_file(path), path);
  const std::filesystem::path file(path);
  const std::string prefix = solver.snapshot_prefix();
  if (prefix.empty()) {
    solver.set_snapshot_prefix((file.parent_path() / file.stem()).string());
  } else if (std::filesystem::is_directory(prefix)) {
    solver.set_snapshot_prefix((std::filesystem::path(prefix) / file.stem()).string());
  }
  return solver;
}

}  // namespace caffe

#pragma once

#include <functional>
#include <string>

namespace google::protobuf {
class Message;
}

namespace caffe {

// The whole file. Errors name the path and the reason.
std::string read_file(const std::string& path);
// Writes under a temporary name in the same folder, flushes to disk, and renames: readers see all
// of it or nothing. `write` gets the temporary path.
void write_atomically(const std::string& path,
                      const std::function<void(const std::string& temporary)>& write);
void write_file(const std::string& path, const std::string& content);  // atomically

// Serialised protobuf messages of any size up to 2 GiB. `what` names the kind of file in errors
// ("model").
void read_message(const std::string& path, const std::string& what,
                  google::protobuf::Message* message);
void write_message(const std::string& path, const google::protobuf::Message& message);

}  // namespace caffe

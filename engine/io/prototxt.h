#pragma once

#include <string>

#include "proto/caffe.pb.h"

namespace caffe {

// Text and binary messages, in any form that Caffe ever wrote: older forms are upgraded
// (net/upgrade.h). Errors name file, line and column.
NetParameter parse_net(const std::string& text, const std::string& file);
NetParameter read_net(const std::string& path);
SolverParameter parse_solver(const std::string& text, const std::string& file);
// A missing snapshot_prefix becomes the path without its extension; one that is a folder, the
// file's name in that folder.
SolverParameter read_solver(const std::string& path);

// Any message, without upgrading.
void parse_text(const std::string& text, const std::string& file,
                google::protobuf::Message* message);
std::string print_text(const google::protobuf::Message& message);

}  // namespace caffe

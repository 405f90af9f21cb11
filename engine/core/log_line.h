#pragma once

#include <string>

#include "core/log.h"

namespace caffe {

// What log_line writes, but always to stderr: for a sink that adds to lines.
void write_log_line(Severity severity, const char* file, int line, const std::string& text);

}  // namespace caffe

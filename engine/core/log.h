#pragma once

#include <functional>
#include <string>

#include "core/error.h"

namespace caffe {

enum class Severity { kInfo = 0, kWarning = 1, kError = 2 };

// Writes one line. `file` and `line` are those of the caller: scripts that read Caffe's logs expect
// "I20261122 19:17:07.556311  1785 solver.cpp:239] text".
void log_line(Severity severity, const char* file, int line, const std::string& text);

// Where lines go instead of stderr (a JVM's logger, a test). An empty function restores stderr.
using LogSink = std::function<void(Severity, const char* file, int line, const std::string& text)>;
void set_log_sink(LogSink sink);

// Lines below this are dropped. The environment variable GLOG_minloglevel sets the initial value.
void set_log_threshold(Severity least);

}  // namespace caffe

#define CAFFE_LOG_INFO(...) \
  ::caffe::log_line(::caffe::Severity::kInfo, __FILE__, __LINE__, ::caffe::concat(__VA_ARGS__))
#define CAFFE_LOG_WARNING(...) \
  ::caffe::log_line(::caffe::Severity::kWarning, __FILE__, __LINE__, ::caffe::concat(__VA_ARGS__))

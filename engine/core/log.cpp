#include "core/log_line.h"

#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>

namespace caffe {
namespace {

int initial_threshold() {
  const char* text = std::getenv("GLOG_minloglevel");
  return text ? std::atoi(text) : 0;
}

struct Logger {
  std::atomic<int> threshold{initial_threshold()};
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
};

// Never destroyed: threads may log while the process ends.
Logger& logger() {
  static Logger* instance = new Logger;
  return *instance;
}

}  // namespace

void write_log_line(Severity severity, const char* file, int line, const std::string& text) {
  timeval now{};
  gettimeofday(&now, nullptr);
  tm parts{};
  localtime_r(&now.tv_sec, &parts);
  char prefix[160];
  std::snprintf(prefix, sizeof(prefix), "%c%04d%02d%02d %02d:%02d:%02d.%06ld %5ld %s:%d] ",
                "IWE"[static_cast<int>(severity)], parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long>(now.tv_usec), static_cast<long>(syscall(SYS_gettid)), file, line);
  const std::string whole = prefix + text + "\n";
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

void log_line(Severity severity, const char* file, int line, const std::string& text) {
  Logger& log = logger();
  if (static_cast<int>(severity) < log.threshold.load(std::memory_order_relaxed)) return;
  const char* slash = std::strrchr(file, '/');
  const char* base = slash ? slash + 1 : file;
  std::shared_ptr<const LogSink> sink;
  {
    std::lock_guard<std::mutex> lock(log.mutex);
    sink = log.sink;
  }
  if (sink) {
    (*sink)(severity, base, line, text);
  } else {
    write_log_line(severity, base, line, text);
  }
}

void set_log_sink(LogSink sink) {
  Logger& log = logger();
  std::lock_guard<std::mutex> lock(log.mutex);
  log.sink = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
}

void set_log_threshold(Severity least) { logger().threshold = static_cast<int>(least); }

}  // namespace caffe

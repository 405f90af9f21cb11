#include "tools/commands/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/log_line.h"

namespace caffe {
namespace {

constexpr double kSecondsBetweenDrawings = 0.1;
constexpr const char* kClearLine = "\r\033[K";

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

bool terminal_for_progress() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

std::string clock_time(double seconds) {
  const auto whole = static_cast<long long>(seconds);
  char text[48];
  if (whole < 3600) {
    std::snprintf(text, sizeof(text), "%lld:%02lld", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  }
  return text;
}

ProgressBar::ProgressBar(Solver& solver) : solver_(solver), first_(solver.iter()) {
  set_log_sink([this](Severity severity, const char* file, int line, const std::string& text) {
    put(kClearLine);
    write_log_line(severity, file, line, text);
    put(this->line());
  });
  solver.add_callback(
      [this] {
        if (seconds_since(drawn_) >= kSecondsBetweenDrawings) draw();
      },
      nullptr);
}

ProgressBar::~ProgressBar() {
  set_log_sink(nullptr);
  put(kClearLine);
}

void ProgressBar::draw() {
  drawn_ = Clock::now();
  put(std::string(kClearLine).append(line()));
}

std::string ProgressBar::line() const {
  const int64_t done = solver_.iter(), all = solver_.max_iter();
  const double seconds = seconds_since(start_);
  const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
  char numbers[128];
  std::snprintf(numbers, sizeof(numbers), " %lld/%lld  %.3g iter/s  loss %.4g  ",
                static_cast<long long>(done), static_cast<long long>(all), rate,
                solver_.smoothed_loss());
  const std::string left =
      rate > 0 ? clock_time(static_cast<double>(all - done) / rate) + " left" : "";
  const int columns = terminal_width() - 1;
  const int room = columns - 2 - static_cast<int>(std::string_view(numbers).size() + left.size());
  const int width = std::clamp(room, 0, 40);
  const auto filled = all > 0 ? std::min(done, all) * width / all : 0;
  std::string line;
  if (width > 0) {
    line.append(1, '[').append(static_cast<size_t>(filled), '=');
    line.append(static_cast<size_t>(width - filled), ' ').append(1, ']');
  }
  line.append(numbers).append(left);
  return line.substr(0, static_cast<size_t>(std::max(columns, 0)));
}

}  // namespace caffe

#include "tools/common/signals.h"

#include <csignal>

#include <atomic>

#include "core/error.h"

namespace caffe {
namespace {

std::atomic<bool> snapshot_wanted{false};
std::atomic<bool> stop_wanted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "signal handlers may not lock");

void want_snapshot(int) { snapshot_wanted = true; }
void want_stop(int) { stop_wanted = true; }

void install(int number, const char* flag, const std::string& effect) {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  if (effect == "snapshot") {
    action.sa_handler = want_snapshot;
  } else if (effect == "stop") {
    action.sa_handler = want_stop;
    action.sa_flags |= static_cast<int>(SA_RESETHAND);
  } else {
    CAFFE_REQUIRE(effect == "none", "flag -", flag, " is snapshot, stop or none, not \"", effect,
                  "\"");
    action.sa_handler = SIG_IGN;
  }
  sigaction(number, &action, nullptr);
}

}  // namespace

SignalRequests::SignalRequests(const std::string& sigint_effect, const std::string& sighup_effect) {
  install(SIGINT, "sigint_effect", sigint_effect);
  install(SIGHUP, "sighup_effect", sighup_effect);
}

SignalRequests::~SignalRequests() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGHUP, SIG_DFL);
}

SolverRequest SignalRequests::next() {
  if (snapshot_wanted.exchange(false)) return SolverRequest::kSnapshot;
  return stop_wanted.exchange(false) ? SolverRequest::kStop : SolverRequest::kNone;
}

}  // namespace caffe

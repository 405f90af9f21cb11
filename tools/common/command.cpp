#include "tools/common/command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "core/error.h"
#include "core/log.h"

namespace caffe {
namespace {

int report(const std::string& program, std::string message) {
  for (char& ch : message) {
    if (ch == '\n' || ch == '\r') ch = ' ';
  }
  std::fprintf(stderr, "%s: %s\n", program.c_str(), message.c_str());
  return 1;
}

}  // namespace

void add_log_flags(Flags* flags) {
  flags
      ->add("minloglevel", "0",
            "least severity that is logged: 0 all, 1 warnings and errors, 2 errors")
      .add_switch("logtostderr", "as it is anyway: the log goes to stderr")
      .add_switch("alsologtostderr", "the same");
}

void apply_log_flags(const Flags& flags) {
  if (!flags.given("minloglevel")) return;
  const int64_t level = flags.number("minloglevel", 0);
  set_log_threshold(static_cast<Severity>(level > 2 ? 3 : level));
}

int run_command(const std::string& program, const std::function<void()>& work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    return report(program, error.message());
  } catch (const std::bad_alloc&) {
    return report(program, "not enough memory; reduce batch_size");
  } catch (const std::exception& error) {
    return report(program, error.what());
  }
}

void start_with_passive_threads(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);
}

}  // namespace caffe

#include "tools/common/command.h"

#include <omp.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <sstream>
#include <utility>

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

constexpr int64_t kMostThreads = 4096;

// How many names "db_path [mean_file]" allows.
std::pair<size_t, size_t> argument_counts(const std::string& arguments) {
  size_t least = 0, most = 0;
  std::istringstream words(arguments);
  for (std::string word; words >> word; ++most) {
    if (word[0] != '[') ++least;
  }
  return {least, most};
}

}  // namespace

void add_log_flags(Flags* flags) {
  flags
      ->add("minloglevel", "N", "0",
            "least severity that is logged: 0 all, 1 warnings and errors, 2 errors")
      .add_switch("logtostderr", "accepted for scripts: the log goes to stderr anyway")
      .add_switch("alsologtostderr", "the same");
}

void apply_log_flags(const Flags& flags) {
  if (!flags.given("minloglevel")) return;
  const int64_t level = flags.number("minloglevel", 0);
  set_log_threshold(static_cast<Severity>(level > 2 ? 3 : level));
}

void add_backend_flag(Flags* flags) {
  flags->add("backend", "KIND", "lmdb", "kind of store: lmdb or leveldb");
}

std::string backend_flag(const Flags& flags) {
  const std::string kind = flags.text("backend");
  return kind.ends_with(".so") ? kind : upper_case(kind);  // a library's name stays as it is
}

void add_threads_flag(Flags* flags) {
  flags->add("threads", "N", "",
             "compute threads; without it OMP_NUM_THREADS or, where that is not set, every core "
             "this process may use");
}

void apply_threads_flag(const Flags& flags) {
  if (!flags.given("threads")) return;
  const int64_t threads = flags.number("threads", 1);
  CAFFE_REQUIRE(threads <= kMostThreads, "-threads ", threads, " is more than ", kMostThreads);
  omp_set_num_threads(static_cast<int>(threads));
}

void add_precision_flag(Flags* flags, const std::string& otherwise) {
  flags->add("precision", "TYPE", "",
             "what nets compute in: f32; or bf16, where activations, their gradients and weights "
             "that are multiplied are rounded to bfloat16, which is faster on processors that have "
             "it; without it " +
                 otherwise);
}

std::optional<Precision> precision_flag(const Flags& flags) {
  if (!flags.given("precision")) return std::nullopt;
  return parse_precision(flags.text("precision"), "flag -precision");
}

std::string upper_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
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

int run_program(Program program, int argc, char** argv,
                const std::function<void(const Flags&)>& work) {
  return run_command(program.name, [&] {
    Flags& flags = program.flags;
    add_log_flags(&flags);
    flags.parse({argv + 1, argv + argc});
    if (flags.wants_help()) {
      std::cout << "usage: " << program.name << " [flags] " << program.arguments << "\n\n"
                << wrapped(program.about, 2, 92) << "\nexample:\n  " << program.example
                << "\n\nflags:\n"
                << flags.help();
      return;
    }
    const auto [least, most] = argument_counts(program.arguments);
    const size_t found = flags.positional().size();
    CAFFE_REQUIRE(found >= least && found <= most, "found ", found, found == 1 ? " name" : " names",
                  ", expected ", program.arguments, "; -help tells more");
    apply_log_flags(flags);
    work(flags);
  });
}

void start_with_passive_threads(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);
}

}  // namespace caffe

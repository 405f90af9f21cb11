// Runs LLVMFuzzerTestOneInput, first over every file of a corpus, then over mutations of them for a
// fixed time. Stands in for libFuzzer, which GCC does not have; the targets work with both.
//
// usage: X_fuzz CORPUS_FOLDER SECONDS CRASH_FILE     an input that fails is left in CRASH_FILE;
// X_fuzz FILE runs just that
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// What the sanitizers' runtimes ask for, if they can see it: a failure ends in SIGABRT, at which
// the input is saved.
extern "C" [[gnu::visibility("default")]] const char* __asan_default_options() {
  return "abort_on_error=1:handle_abort=0:detect_leaks=1:allocator_may_return_null=1";
}
extern "C" [[gnu::visibility("default")]] const char* __ubsan_default_options() {
  return "abort_on_error=1:halt_on_error=1:print_stacktrace=1";
}

namespace {

using Bytes = std::vector<uint8_t>;
constexpr size_t kLongest = 1 << 16;
constexpr unsigned kSecondsPerInput = 20;

Bytes current;
std::string crash_file;

void save_current() {
  std::ofstream(crash_file, std::ios::binary)
      .write(reinterpret_cast<const char*>(current.data()),
             static_cast<std::streamsize>(current.size()));
}

void on_abort(int) {
  save_current();
  _exit(1);
}

void on_alarm(int) {
  save_current();
  const char message[] = "an input takes too long\n";
  (void)!write(STDERR_FILENO, message, sizeof message - 1);
  _exit(1);
}

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void run_current() {
  alarm(kSecondsPerInput);
  LLVMFuzzerTestOneInput(current.data(), current.size());
  alarm(0);
}

class Mutator {
 public:
  explicit Mutator(const std::vector<Bytes>& corpus) : corpus_(corpus) {}

  Bytes next() {
    Bytes bytes = corpus_[below(corpus_.size())];
    for (size_t i = 1 + below(6); i > 0; --i) mutate(bytes);
    if (bytes.size() > kLongest) bytes.resize(kLongest);
    return bytes;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void mutate(Bytes& bytes) {
    static constexpr uint8_t kTelling[] = {0, 1, 0x7f, 0x80, 0xff, '{', '}', '"', '-', '9', '\n'};
    const size_t at = below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(7)) {
      case 0:
        if (!bytes.empty()) bytes[at] ^= static_cast<uint8_t>(1U << below(8));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = kTelling[below(sizeof kTelling)];
        break;
      case 2:
        bytes.insert(place, static_cast<uint8_t>(random_()));
        break;
      case 3:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(
                                       below(std::min<size_t>(16, bytes.size() - at) + 1)));
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5: {  // repeats a piece
        const Bytes piece(place, place + static_cast<std::ptrdiff_t>(
                                             below(std::min<size_t>(64, bytes.size() - at) + 1)));
        bytes.insert(place, piece.begin(), piece.end());
        break;
      }
      default: {  // goes on as another input does
        const Bytes& other = corpus_[below(corpus_.size())];
        bytes.resize(at);
        bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())),
                     other.end());
      }
    }
  }

  const std::vector<Bytes>& corpus_;
  std::mt19937 random_{20161};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) {
    current = read_file(argv[1]);
    run_current();
    return 0;
  }
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER SECONDS CRASH_FILE | FILE\n", argv[0]);
    return 2;
  }
  crash_file = argv[3];
  std::signal(SIGABRT, on_abort);
  std::signal(SIGALRM, on_alarm);

  std::vector<Bytes> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) corpus.push_back(read_file(entry.path()));
  }
  for (const Bytes& bytes : corpus) {
    current = bytes;
    run_current();
  }
  if (corpus.empty()) corpus.emplace_back();
  Mutator mutator(corpus);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  size_t count = 0;
  for (; std::chrono::steady_clock::now() < end; ++count) {
    current = mutator.next();
    run_current();
  }
  std::printf("%zu inputs and %zu mutations of them\n", corpus.size(), count);
  return 0;
}

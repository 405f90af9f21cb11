#include "tools/commands/workers.h"

#include <omp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <sstream>
#include <tuple>
#include <vector>

#include "core/clock.h"
#include "core/log_line.h"

namespace caffe {
namespace {

// Messages between a worker and the process that started it: one letter, then text.
constexpr char kAddress = 'A';   // worker: where it listens; starter: everybody's, one a line
constexpr char kRequest = 'R';   // starter: a SolverRequest, as a digit
constexpr char kFinished = 'F';  // worker: it has done its work
constexpr char kError = 'E';     // worker: the code as a digit, then the message
constexpr size_t kLongestMessage = 1 << 16;
constexpr auto kTimeToConnect = std::chrono::minutes(10);  // from the first worker to the last
constexpr auto kTimeToEnd = std::chrono::seconds(10);      // of the others after a failure

void send_message(int channel, char kind, const std::string& text) {
  const std::string message = (kind + text).substr(0, kLongestMessage);
  while (::send(channel, message.data(), message.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// The next message; nothing where there is none within `limit` or the other side is gone.
std::optional<std::string> receive_message(int channel, std::chrono::milliseconds limit,
                                           bool* gone = nullptr) {
  pollfd wait{channel, POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) return std::nullopt;
  std::string message(kLongestMessage, '\0');
  const ssize_t size = ::recv(channel, message.data(), message.size(), MSG_DONTWAIT);
  if (size <= 0) {
    if (gone != nullptr && (size == 0 || (errno != EAGAIN && errno != EINTR))) *gone = true;
    return std::nullopt;
  }
  message.resize(static_cast<size_t>(size));
  return message;
}

// ---- cores ----

int topology(int cpu, const char* what) {
  int value = 0;
  std::ifstream(concat("/sys/devices/system/cpu/cpu", cpu, "/topology/", what)) >> value;
  return value;
}

// The hardware threads that this process may use, those of a socket and of a core side by side.
std::vector<int> usable_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {};
  std::vector<std::tuple<int, int, int>> order;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed))
      order.emplace_back(topology(cpu, "physical_package_id"), topology(cpu, "core_id"), cpu);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> cpus;
  for (const auto& [package, core, cpu] : order) cpus.push_back(cpu);
  return cpus;
}

// Each worker computes on a share of the cores of its own. Where there are fewer cores than
// workers, or more threads are wanted than a share has, the system spreads them.
void take_share_of_cores(int rank, int world, int threads) {
  const std::vector<int> cpus = usable_cpus();
  const size_t begin = cpus.size() * static_cast<size_t>(rank) / static_cast<size_t>(world);
  const size_t end = cpus.size() * static_cast<size_t>(rank + 1) / static_cast<size_t>(world);
  const int share = static_cast<int>(end - begin);
  omp_set_num_threads(threads > 0 ? threads : std::max(1, share));
  if (share == 0 || threads > share) return;
  cpu_set_t mine;
  CPU_ZERO(&mine);
  for (size_t i = begin; i < end; ++i) CPU_SET(cpus[i], &mine);
  sched_setaffinity(0, sizeof(mine), &mine);
}

// ---- in a worker's process ----

// Ranks above 0 say what rank 0 says, too: they log only warnings, once the group stands.
void log_as_rank(int rank) {
  if (rank == 0) return;
  set_log_sink([rank](Severity severity, const char* file, int line, const std::string& text) {
    if (severity != Severity::kInfo)
      write_log_line(severity, file, line, concat("worker ", rank, ": ", text));
  });
}

[[noreturn]] void be_worker(Worker worker, int channel, int threads, pid_t starter,
                            const std::function<void(Worker&)>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no worker outlives the process that the user sees
  if (::getppid() != starter) ::_exit(1);
  // A terminal sends them to the workers, too; the starting process passes on what they ask for.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  const auto report = [&](ErrorCode code, const std::string& text) {
    worker.leave(concat("worker ", worker.rank(), " ended: ", text));
    send_message(channel, kError, std::to_string(static_cast<int>(code)) + text);
  };
  try {
    take_share_of_cores(worker.rank(), worker.world(), threads);
    if (worker.rank() > 0) set_log_sink([](auto&&...) {});
    work(worker);
    worker.leave("");
    send_message(channel, kFinished, "");
  } catch (const Error& error) {
    report(error.code(), error.message());
  } catch (const std::bad_alloc&) {
    report(ErrorCode::kInternal, "not enough memory; reduce batch_size");
  } catch (const std::exception& error) {
    report(ErrorCode::kInternal, error.what());
  }
  ::_exit(0);
}

// ---- in the process that starts them ----

class WorkerGroup {
 public:
  WorkerGroup(const WorkersOptions& options, const std::function<void(Worker&)>& work) {
    std::string secret(32, '\0');
    CAFFE_REQUIRE_CODE(
        ::getrandom(secret.data(), secret.size(), 0) == static_cast<ssize_t>(secret.size()),
        ErrorCode::kInternal, "the system gives no random numbers");
    const pid_t starter = ::getpid();
    for (int rank = 0; rank < options.world; ++rank) {
      int pair[2];
      CAFFE_REQUIRE_CODE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0,
                         ErrorCode::kIo, "cannot start worker ", rank, ": ", std::strerror(errno));
      const pid_t process = ::fork();
      if (process == 0) {
        ::close(pair[0]);
        for (const Member& member : members_) ::close(member.channel);
        be_worker(Worker(rank, options.world, pair[1], secret, options.seed), pair[1],
                  options.threads, starter, work);
      }
      ::close(pair[1]);
      if (process < 0) ::close(pair[0]);
      CAFFE_REQUIRE_CODE(process > 0, ErrorCode::kIo, "cannot start worker ", rank, ": ",
                         std::strerror(errno));
      members_.emplace_back();
      members_.back().process = process;
      members_.back().channel = pair[0];
    }
  }

  ~WorkerGroup() {
    for (const Member& member : members_) {
      if (member.process > 0) ::kill(member.process, SIGKILL);
    }
    for (Member& member : members_) {
      reap(member);
      ::close(member.channel);
    }
  }
  WorkerGroup(const WorkerGroup&) = delete;
  WorkerGroup& operator=(const WorkerGroup&) = delete;

  void wait(const std::function<SolverRequest()>& next_request) {
    std::optional<Clock::time_point> end;
    while (running() > 0) {
      forward_requests(next_request);
      serve();
      if (!connected_) introduce();
      if (failed() && !end)
        end = Clock::now() + (connected_ ? kTimeToEnd : std::chrono::seconds(0));
      if (end && Clock::now() >= *end) break;
    }
    if (failed()) throw cause();
  }

 private:
  struct Member {
    pid_t process = 0;
    int channel = -1;
    std::string address;
    bool ended = false;
    bool finished = false;
    std::optional<Error> error;  // what it said itself
    int status = 0;              // what the system says
  };

  size_t running() const {
    return static_cast<size_t>(
        std::count_if(members_.begin(), members_.end(), [](const Member& m) { return !m.ended; }));
  }
  bool failed() const {
    return std::any_of(members_.begin(), members_.end(),
                       [](const Member& m) { return m.ended && !m.finished; });
  }

  static void reap(Member& member) {
    if (member.process <= 0) return;
    while (::waitpid(member.process, &member.status, 0) < 0 && errno == EINTR) {
    }
    member.process = 0;
  }

  void forward_requests(const std::function<SolverRequest()>& next_request) {
    for (SolverRequest request = next_request(); request != SolverRequest::kNone;
         request = next_request()) {
      send_message(members_[0].channel, kRequest, std::to_string(static_cast<int>(request)));
    }
  }

  // Waits a little for messages and takes them. A channel that ends is a worker that has ended.
  void serve() {
    std::vector<pollfd> waits;
    for (const Member& member : members_)
      waits.push_back({member.ended ? -1 : member.channel, POLLIN, 0});
    // Signals end the wait; the limit is for those that come just before it.
    if (::poll(waits.data(), waits.size(), 100) <= 0) return;
    for (size_t i = 0; i < members_.size(); ++i) {
      if (waits[i].revents == 0) continue;
      Member& member = members_[i];
      bool gone = false;
      const auto message = receive_message(member.channel, std::chrono::milliseconds(0), &gone);
      if (message) take(*message, member);
      if (!gone) continue;
      member.ended = true;
      reap(member);
    }
  }

  static void take(const std::string& message, Member& member) {
    const std::string text = message.substr(1);
    if (message[0] == kAddress) member.address = text;
    if (message[0] == kFinished) member.finished = true;
    if (message[0] == kError)
      member.error.emplace(static_cast<ErrorCode>(text[0] - '0'), text.substr(1));
  }

  // Once all listen, tells each where the others are.
  void introduce() {
    std::string addresses;
    for (const Member& member : members_) {
      if (member.address.empty()) return;
      addresses += member.address + "\n";
    }
    for (const Member& member : members_) send_message(member.channel, kAddress, addresses);
    connected_ = true;
  }

  // What the user is told: of a worker that died, else of one that failed by itself, else of one
  // that lost another.
  Error cause() const {
    const auto number = [&](const Member& member) { return &member - members_.data(); };
    for (const Member& member : members_) {
      if (member.ended && !member.finished && !member.error)
        return Error(
            ErrorCode::kCommunication,
            concat("worker ", number(member), " of ", members_.size(), " ",
                   how_it_ended(member.status), "; -snapshot resumes from the last snapshot"));
    }
    const Member* first = nullptr;
    for (const Member& member : members_) {
      if (!member.error) continue;
      const bool own = member.error->code() != ErrorCode::kCommunication;
      if (first == nullptr || (own && first->error->code() == ErrorCode::kCommunication))
        first = &member;
    }
    return Error(first->error->code(), concat("worker ", number(*first), " of ", members_.size(),
                                              ": ", first->error->message()));
  }

  static std::string how_it_ended(int status) {
    if (!WIFSIGNALED(status)) return concat("ended with exit code ", WEXITSTATUS(status));
    const int signal = WTERMSIG(status);
    const std::string advice =
        signal == SIGKILL ? ", as the system does where memory runs out" : "";
    return concat("was killed by signal ", signal, " (", strsignal(signal), advice, ")");
  }

  std::vector<Member> members_;
  bool connected_ = false;
};

}  // namespace

Worker::Worker(int rank, int world, int channel, const std::string& secret, uint64_t seed)
    : rank_(rank), world_(world), channel_(channel), secret_(secret), seed_(seed) {}

Communicator& Worker::connect(uint64_t config_hash) {
  ListenOptions listen;
  listen.interface = "127.0.0.1";
  group_ = Communicator::listen(listen);
  send_message(channel_, kAddress, group_->address());
  ConnectOptions options;
  options.rank = rank_;
  options.world = world_;
  options.secret = secret_;
  options.epoch = "caffe train";
  options.config_hash = config_hash;
  const auto deadline = Clock::now() + kTimeToConnect;
  std::optional<std::string> message;
  while (!message || (*message)[0] != kAddress) {
    bool gone = false;
    message = receive_message(channel_, std::chrono::milliseconds(1000), &gone);
    if (message && (*message)[0] == kRequest) requests_ += (*message)[1];
    CAFFE_REQUIRE_CODE(!gone && Clock::now() < deadline, ErrorCode::kCommunication,
                       "the other workers did not start");
  }
  std::istringstream lines(message->substr(1));
  for (std::string line; std::getline(lines, line);) options.addresses.push_back(line);
  group_->connect(options);
  log_as_rank(rank_);
  return *group_;
}

SolverRequest Worker::next_request() {
  if (rank_ != 0) return SolverRequest::kNone;
  while (const auto message = receive_message(channel_, std::chrono::milliseconds(0))) {
    if ((*message)[0] == kRequest) requests_ += (*message)[1];
  }
  if (requests_.empty()) return SolverRequest::kNone;
  const auto request = static_cast<SolverRequest>(requests_[0] - '0');
  requests_.erase(0, 1);
  return request;
}

void Worker::leave(const std::string& failure) {
  if (group_ && !failure.empty()) group_->abort(failure);
  group_.reset();
}

void run_workers(const WorkersOptions& options, const std::function<SolverRequest()>& next_request,
                 const std::function<void(Worker&)>& work) {
  WorkerGroup group(options, work);
  group.wait(next_request);
}

}  // namespace caffe

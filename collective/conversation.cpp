#include "collective/conversation.h"

#include <algorithm>

#include "core/log.h"

namespace caffe {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstWarning{10'000};
constexpr milliseconds kLongestNap{1000};
// How long the control connections may take to say why a data connection broke.
constexpr milliseconds kNewsPatience{2000};

double in_seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Conversation::Conversation(Transport& transport, ControlMesh& control, const Options& options)
    : transport_(transport), control_(control), options_(options) {
  outgoing_.resize(options.world);
  incoming_.resize(options.world);
  unchecked_.reserve(options.world);
  greeted_.reserve(options.world);
}

void Conversation::begin(Kind kind, uint64_t size, int root) {
  control_.throw_if_failed();
  current_ = {static_cast<uint32_t>(kind), static_cast<uint32_t>(root), current_.operation + 1,
              size};
  control_.set_begun(current_.operation);
  last_progress_ = Clock::now();
  warning_pause_ = kFirstWarning;
  next_warning_ = last_progress_ + warning_pause_;
}

void Conversation::send(Request& request, int peer, const void* data, size_t bytes) {
  Greeting& greeting = outgoing_[peer];
  if (greeting.operation != current_.operation) {
    greeting.operation = current_.operation;
    greeting.header = current_;
    greeting.request.prepare(peer, &greeting.header, sizeof(Header));
    transport_.send(greeting.request);
    greeted_.push_back(peer);
  }
  // The transport only reads what it sends.
  request.prepare(peer, const_cast<void*>(data), bytes);
  transport_.send(request);
}

void Conversation::receive(Request& request, int peer, void* data, size_t bytes) {
  Greeting& greeting = incoming_[peer];
  if (greeting.operation != current_.operation) {
    greeting.operation = current_.operation;
    greeting.request.prepare(peer, &greeting.header, sizeof(Header));
    greeting.checked = false;
    transport_.receive(greeting.request);
    unchecked_.push_back(peer);
  }
  request.prepare(peer, data, bytes);
  transport_.receive(request);
}

void Conversation::await(const Request& request) {
  while (!request.complete()) advance(request.peer);
}

uint64_t Conversation::await_header(int peer) {
  while (!incoming_[peer].checked) advance(peer);
  return incoming_[peer].header.size;
}

void Conversation::finish() {
  while (!unchecked_.empty()) advance(unchecked_.back());
  while (!greeted_.empty()) {
    await(outgoing_[greeted_.back()].request);
    greeted_.pop_back();
  }
}

void Conversation::advance(int peer) {
  control_.throw_if_failed();
  bool moved = false;
  try {
    moved = transport_.progress(std::clamp(options_.timeout / 4, milliseconds(1), kLongestNap));
  } catch (const PeerLost& lost) {
    explain(lost);
  }
  if (!moved) return check_deadline(peer);
  last_progress_ = Clock::now();
  if (!unchecked_.empty()) check_headers();
}

void Conversation::check_headers() {
  for (size_t i = 0; i < unchecked_.size();) {
    const int peer = unchecked_[i];
    Greeting& greeting = incoming_[peer];
    if (!greeting.request.complete()) {
      ++i;
      continue;
    }
    const Header& theirs = greeting.header;
    const bool sizes_may_differ = current_.kind == static_cast<uint32_t>(Kind::kAllGather);
    if (theirs.kind != current_.kind || theirs.operation != current_.operation ||
        theirs.root != current_.root || (theirs.size != current_.size && !sizes_may_differ)) {
      fail_with(peer, concat(options_.names[peer], " is in ", describe(theirs), ", but ",
                             options_.names[rank()], " in ", describe(current_),
                             "; all ranks must call the same operations in the same order"));
    }
    greeting.checked = true;
    unchecked_[i] = unchecked_.back();
    unchecked_.pop_back();
  }
}

void Conversation::check_deadline(int peer) {
  const auto now = Clock::now();
  const auto idle = now - last_progress_;
  if (idle < options_.timeout && now < next_warning_) return;
  control_.throw_if_failed();
  const std::string state = late_rank(peer);
  const std::string text = concat("nothing has moved for ", in_seconds(idle), " s in ",
                                  describe(current_), ": ", options_.names[peer], " ", state);
  if (idle >= options_.timeout) {
    fail_with(peer, concat(text, "; the limit is ", in_seconds(options_.timeout), " s"));
  }
  CAFFE_LOG_WARNING(options_.names[rank()], " waits: ", text);
  warning_pause_ *= 2;
  next_warning_ = now + warning_pause_;
}

// A rank that waits is itself waited for; the true culprit is who has begun the fewest operations.
std::string Conversation::late_rank(int& peer) const {
  uint64_t fewest = current_.operation;
  for (int other = 0; other < world(); ++other) {
    if (other == rank()) continue;
    const uint64_t begun = control_.begun_by(other);
    if (begun < fewest) {
      fewest = begun;
      peer = other;
    }
  }
  if (fewest == current_.operation) return "is alive and in that operation, but sends nothing";
  return concat("is alive, but has not gone beyond operation ", fewest);
}

void Conversation::explain(const PeerLost& lost) {
  // Whoever ends tells its control connections before the data connections break.
  control_.await_news_of(lost.peer, kNewsPatience);
  control_.throw_if_failed();
  if (control_.has_left(lost.peer)) {
    fail_with(lost.peer, concat(options_.names[lost.peer], " left the group before ",
                                describe(current_), " was finished; see its log"));
  }
  fail_with(lost.peer,
            concat("the data connection to ", options_.names[lost.peer], " broke: ", lost.what));
}

void Conversation::fail_with(int peer, const std::string& text) {
  control_.fail({ErrorCode::kCommunication, peer, text});
  control_.throw_if_failed();
  fail(ErrorCode::kCommunication, text);
}

std::string Conversation::describe(const Header& header) const {
  std::string what;
  switch (static_cast<Kind>(header.kind)) {
    case Kind::kAllReduce:
      what = concat("all-reduce of ", header.size / sizeof(float), " floats");
      break;
    case Kind::kAllReduceBf16:
      what = concat("all-reduce of ", header.size / sizeof(float), " floats as bf16");
      break;
    case Kind::kReduceApplyGather:
      what = concat("reduce-apply-gather of ", header.size / sizeof(float), " floats");
      break;
    case Kind::kBroadcast:
      what = concat("broadcast of ", header.size, " bytes from rank ", header.root);
      break;
    case Kind::kBarrier:
      what = "barrier";
      break;
    case Kind::kAllGather:
      what = "all-gather";
      break;
    default:
      return "an unknown operation";
  }
  return concat("operation ", header.operation, " (", what, ")");
}

}  // namespace caffe

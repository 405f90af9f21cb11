#include "collective/control.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/log.h"

namespace caffe {
namespace {

// A frame is type (1), length of the body (2, little endian), body.
enum Frame : char { kBeat = 1, kFailure = 2, kLeave = 3 };
constexpr size_t kHeaderBytes = 3;
constexpr size_t kMaxText = 4000;
constexpr std::chrono::milliseconds kLinger{1000};
constexpr const char* kReportedBy = " (reported by ";

void put(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t get(const char* in, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(in[i])) << (8 * i);
  }
  return value;
}

void append_frame(std::string& out, Frame type, const std::string& body) {
  out.push_back(type);
  put(out, body.size(), 2);
  out += body;
}

std::string seconds(std::chrono::milliseconds duration) {
  return concat(static_cast<double>(duration.count()) / 1000, " s");
}

}  // namespace

void ControlMesh::start(const Options& options) {
  std::lock_guard<std::mutex> lock(mutex_);
  options_ = options;
  peers_.resize(options.names.size());
  // Signals belong to the threads of the host process (a JVM's, say).
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "caffe-control");
}

void ControlMesh::add(int peer, Stream socket) {
  std::lock_guard<std::mutex> lock(mutex_);
  peers_[peer].socket = std::move(socket);
  peers_[peer].heard = Clock::now();
  if (failed()) append_failure(peers_[peer]);
  flush(peer);
  stir_.signal();
}

void ControlMesh::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!thread_.joinable()) return;
    stopping_ = true;
    for (int peer = 0; peer < static_cast<int>(peers_.size()); ++peer) {
      if (!failed()) append_frame(peers_[peer].outgoing, kLeave, "");
      flush(peer);
    }
    stir_.signal();
  }
  thread_.join();
  std::lock_guard<std::mutex> lock(mutex_);
  peers_.clear();
}

void ControlMesh::fail(const Failure& failure) noexcept {
  try {
    std::lock_guard<std::mutex> lock(mutex_);
    record(failure, -1);
  } catch (const std::exception& error) {
    CAFFE_LOG_WARNING("cannot tell the group of a failure: ", error.what());
  }
}

void ControlMesh::throw_if_failed() const {
  if (!failed()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  throw Error(failure_.code, failure_.text);
}

void ControlMesh::await_news_of(int peer, std::chrono::milliseconds limit) {
  std::unique_lock<std::mutex> lock(mutex_);
  news_.wait_for(lock, limit, [&] { return failed() || peers_[peer].left; });
}

bool ControlMesh::has_left(int peer) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return peers_[peer].left;
}

uint64_t ControlMesh::begun_by(int peer) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return peers_[peer].begun;
}

// All that follows holds mutex_, except run() and linger() while they wait.

void ControlMesh::record(Failure failure, int heard_from) {
  if (failed()) return;
  const bool second_hand = heard_from >= 0 && heard_from != failure.rank &&
                           failure.text.find(kReportedBy) == std::string::npos;
  if (second_hand) failure.text += concat(kReportedBy, options_.names[heard_from], ")");
  failure_ = std::move(failure);
  failed_.store(true, std::memory_order_release);
  for (int peer = 0; peer < static_cast<int>(peers_.size()); ++peer) {
    append_failure(peers_[peer]);
    flush(peer);
  }
  // Only now, so that nobody can close the connections before the news are on their way.
  wake_.signal();
  stir_.signal();
  news_.notify_all();
}

void ControlMesh::append_failure(Peer& peer) {
  std::string body;
  put(body, static_cast<uint64_t>(failure_.code), 1);
  put(body, static_cast<uint32_t>(failure_.rank), 4);
  body += failure_.text.substr(0, kMaxText);
  append_frame(peer.outgoing, kFailure, body);
}

void ControlMesh::flush(int index) {
  Peer& peer = peers_[index];
  while (peer.socket && !peer.outgoing.empty()) {
    const ssize_t sent = peer.socket.send(peer.outgoing.data(), peer.outgoing.size());
    if (sent < 0 && errno == EINTR) continue;
    // Other errors are left to serve(): there may be an explanation to be read yet.
    if (sent < 0) return;
    peer.outgoing.erase(0, sent);
  }
}

void ControlMesh::serve(int index) {
  Peer& peer = peers_[index];
  char buffer[4096];
  while (peer.socket) {
    const ssize_t got = peer.socket.receive(buffer, sizeof(buffer));
    if (got > 0) {
      peer.heard = Clock::now();
      peer.incoming.append(buffer, got);
      if (parse(index)) continue;
      peer.socket.reset();
      return record({ErrorCode::kCommunication, index,
                     options_.names[index] + " sent something that is not the control protocol"},
                    -1);
    }
    const int error = got < 0 ? errno : 0;
    if (error == EAGAIN || error == EINTR) return;
    peer.socket.reset();
    if (peer.left) return;
    return record({ErrorCode::kCommunication, index,
                   concat(options_.names[index], " closed its connection",
                          error ? concat(" (", errno_text(error), ")") : "",
                          ": its process has ended or was killed; see its log")},
                  -1);
  }
}

bool ControlMesh::parse(int index) {
  Peer& peer = peers_[index];
  size_t at = 0;
  while (peer.incoming.size() - at >= kHeaderBytes) {
    const char* header = peer.incoming.data() + at;
    const size_t length = get(header + 1, 2);
    if (length > kMaxText + 16) return false;
    if (peer.incoming.size() - at < kHeaderBytes + length) break;
    const char* body = header + kHeaderBytes;
    if (header[0] == kBeat && length == 8) {
      peer.begun = get(body, 8);
    } else if (header[0] == kFailure && length >= 5) {
      const auto code = static_cast<ErrorCode>(get(body, 1));
      record({code == ErrorCode::kCancelled ? code : ErrorCode::kCommunication,
              static_cast<int32_t>(get(body + 1, 4)), std::string(body + 5, length - 5)},
             index);
    } else if (header[0] == kLeave && length == 0) {
      peer.left = true;
      news_.notify_all();
    } else {
      return false;
    }
    at += kHeaderBytes + length;
  }
  peer.incoming.erase(0, at);
  return true;
}

void ControlMesh::beat(Clock::time_point now) {
  for (int index = 0; index < static_cast<int>(peers_.size()); ++index) {
    Peer& peer = peers_[index];
    if (!peer.socket || peer.left) continue;
    // A peer that does not read needs no second heartbeat.
    if (peer.outgoing.empty()) {
      std::string body;
      put(body, begun_.load(std::memory_order_relaxed), 8);
      append_frame(peer.outgoing, kBeat, body);
    }
    flush(index);
  }
  check_silence(now);
}

void ControlMesh::check_silence(Clock::time_point now) {
  for (int index = 0; index < static_cast<int>(peers_.size()); ++index) {
    const Peer& peer = peers_[index];
    if (!peer.socket || peer.left || now - peer.heard < options_.silence_limit) continue;
    record({ErrorCode::kCommunication, index,
            concat(options_.names[index], " has been silent for ", seconds(options_.silence_limit),
                   ": its machine or the network is down, or its process is stopped")},
           -1);
  }
}

void ControlMesh::run() {
  std::vector<pollfd> polled;
  std::unique_lock<std::mutex> lock(mutex_);
  Clock::time_point next_beat = Clock::now();
  while (!stopping_) {
    polled.assign(1, {stir_.descriptor(), POLLIN, 0});
    for (const Peer& peer : peers_) {
      const short events = peer.outgoing.empty() ? POLLIN : POLLIN | POLLOUT;
      polled.push_back({peer.socket.get(), events, 0});  // poll skips negative descriptors
    }
    const auto pause = std::chrono::ceil<std::chrono::milliseconds>(next_beat - Clock::now());
    lock.unlock();
    poll(polled.data(), polled.size(), std::max(0, static_cast<int>(pause.count())));
    lock.lock();
    if (polled[0].revents) stir_.clear();
    for (size_t i = 1; i < polled.size(); ++i) {
      const int index = static_cast<int>(i) - 1;
      if (polled[i].revents && polled[i].fd == peers_[index].socket.get()) {
        flush(index);
        serve(index);
      }
    }
    const auto now = Clock::now();
    if (now < next_beat) continue;
    // A process that was itself stopped has not listened: the others get another chance.
    if (now - next_beat > options_.silence_limit / 2) {
      for (Peer& peer : peers_) peer.heard = now;
    }
    beat(now);
    next_beat = now + options_.heartbeat_interval;
  }
  lock.unlock();
  linger();
}

// What is still to be said goes out, unless a peer does not read.
void ControlMesh::linger() {
  const auto deadline = Clock::now() + kLinger;
  std::unique_lock<std::mutex> lock(mutex_);
  std::vector<pollfd> polled;
  while (true) {
    polled.clear();
    for (int index = 0; index < static_cast<int>(peers_.size()); ++index) {
      Peer& peer = peers_[index];
      flush(index);
      if (peer.socket && !peer.outgoing.empty()) polled.push_back({peer.socket.get(), POLLOUT, 0});
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (polled.empty() || left.count() <= 0) break;
    lock.unlock();
    poll(polled.data(), polled.size(), static_cast<int>(left.count()));
    lock.lock();
    // A broken connection is always writable: it is given up.
    for (const pollfd& item : polled) {
      if (!(item.revents & (POLLERR | POLLHUP | POLLNVAL))) continue;
      for (Peer& peer : peers_) {
        if (peer.socket.get() == item.fd) peer.socket.reset();
      }
    }
  }
}

}  // namespace caffe

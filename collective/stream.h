#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "collective/socket.h"

struct ssl_st;
struct ssl_ctx_st;

namespace caffe {

struct TlsDeleter {
  void operator()(ssl_st* session) const;
  void operator()(ssl_ctx_st* context) const;
};
using TlsSession = std::unique_ptr<ssl_st, TlsDeleter>;

// TLS 1.3 between the ranks of one group. A key made of the group's secret stands in place of
// certificates; a fresh Diffie-Hellman exchange gives each connection its own.
class Tls {
 public:
  Tls(const std::string& secret, const std::string& epoch);
  // On a connected socket, whose owner keeps it open as long as the session lives.
  TlsSession begin(int fd, bool dials) const;

 private:
  std::string key_;
  std::unique_ptr<ssl_ctx_st, TlsDeleter> context_;
};

enum class Shake { kGoingOn, kDone, kBroken };

// Carries on the handshake of a session as far as possible without waiting.
Shake shake(ssl_st& session);
bool wants_to_write(const ssl_st& session);

// A connection that is never waited for: plain, or encrypted by a session that stands. Errors are
// as those of send and recv: -1 with errno, EAGAIN where nothing can be moved now; a receive of 0
// is the end.
class Stream {
 public:
  Stream() = default;
  explicit Stream(Descriptor socket, TlsSession session = nullptr)
      : socket_(std::move(socket)), session_(std::move(session)) {}

  int get() const { return socket_.get(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }
  Descriptor release() { return std::move(socket_); }  // of a plain one
  void reset() {
    session_.reset();
    socket_.reset();
  }

  ssize_t send(const iovec* parts, size_t count);
  ssize_t receive(const iovec* parts, size_t count);
  ssize_t send(const void* data, size_t size) {
    const iovec part{const_cast<void*>(data), size};
    return send(&part, 1);
  }
  ssize_t receive(void* data, size_t size) {
    const iovec part{data, size};
    return receive(&part, 1);
  }

 private:
  Descriptor socket_;
  TlsSession session_;    // ends before its socket
  uint64_t records_ = 0;  // sent by it
};

}  // namespace caffe

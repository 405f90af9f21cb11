#pragma once

#include <sys/socket.h>

#include <string>
#include <utility>

namespace caffe {

// Owns a file descriptor; all that are made here are closed on exec.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }  // the caller closes it
  void reset();

 private:
  int fd_ = -1;
};

// An IPv4 or IPv6 address with a port.
struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;

  sockaddr* address() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage); }
  std::string text() const;  // "10.0.0.1:4711" or "[fd00::1]:4711"
};

// Reads what Endpoint::text wrote; only numeric addresses, so that no name service is asked.
Endpoint parse_endpoint(const std::string& text);

// Where to listen, port 0. `interface` is an address, a host name or a device name of this machine.
// "" means SPARK_LOCAL_IP if that is set, else an address that other hosts can reach if there is
// one, else loopback.
Endpoint local_endpoint(const std::string& interface);

// Listens at an ephemeral port, which is put into `endpoint`. Non-blocking.
Descriptor listen_at(Endpoint& endpoint);

// Begins a connection. Non-blocking: it stands when the socket is writable and has no error.
// On an immediate failure the result is empty and errno says why.
Descriptor begin_connect(const Endpoint& endpoint);

// The next connection, non-blocking, and who it is from; empty if there is none.
Descriptor accept_from(int listener, Endpoint& from);

// An event that poll can wait for: readable from signal() until clear().
class Event {
 public:
  Event();
  void signal() noexcept;
  void clear() noexcept;
  int descriptor() const { return event_.get(); }

 private:
  Descriptor event_;
};

std::string errno_text(int error);

}  // namespace caffe

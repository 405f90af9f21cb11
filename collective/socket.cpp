#include "collective/socket.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "core/error.h"

namespace caffe {
namespace {

constexpr int kBacklog = 1024;
constexpr unsigned kUnacknowledgedMs = 60'000;

// Small messages leave at once, and the kernel does not retry for a quarter of an hour to a host
// that is gone. Errors are harmless: these are tunings.
void tune(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof(kUnacknowledgedMs));
}

Endpoint from_sockaddr(const sockaddr* address) {
  Endpoint endpoint;
  endpoint.size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&endpoint.storage, address, endpoint.size);
  return endpoint;
}

bool numeric_endpoint(const std::string& host, uint16_t port, Endpoint& endpoint) {
  sockaddr_in v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    endpoint = from_sockaddr(reinterpret_cast<sockaddr*>(&v4));
    return true;
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    endpoint = from_sockaddr(reinterpret_cast<sockaddr*>(&v6));
    return true;
  }
  return false;
}

bool is_wildcard(const Endpoint& endpoint) {
  if (endpoint.storage.ss_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(endpoint.storage).sin_addr.s_addr == INADDR_ANY;
  }
  return IN6_IS_ADDR_UNSPECIFIED(
      &reinterpret_cast<const sockaddr_in6&>(endpoint.storage).sin6_addr);
}

struct LocalAddress {
  std::string device;
  Endpoint endpoint;
  int rank = 0;  // the lower, the likelier other hosts reach it
};

// Bridges and tunnels of container systems carry addresses that exist on every host.
bool is_virtual(const std::string& device) {
  for (const char* prefix : {"docker", "br-", "virbr", "veth", "cni", "flannel", "lxc", "podman"}) {
    if (device.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

std::vector<LocalAddress> local_addresses() {
  ifaddrs* raw = nullptr;
  CAFFE_REQUIRE_CODE(getifaddrs(&raw) == 0, ErrorCode::kCommunication,
                     "cannot list the network addresses of this machine: ", errno_text(errno));
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(raw, freeifaddrs);
  std::vector<LocalAddress> found;
  for (const ifaddrs* item = raw; item; item = item->ifa_next) {
    if (!item->ifa_addr || !(item->ifa_flags & IFF_UP)) continue;
    const int family = item->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    LocalAddress local{item->ifa_name, from_sockaddr(item->ifa_addr), 0};
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(local.endpoint.storage);
    // A link-local address means nothing on another host.
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) continue;
    local.rank = (family == AF_INET6 ? 1 : 0) + (is_virtual(local.device) ? 2 : 0) +
                 (item->ifa_flags & IFF_LOOPBACK ? 4 : 0);
    found.push_back(std::move(local));
  }
  return found;
}

std::string describe(const std::vector<LocalAddress>& addresses) {
  std::string text;
  for (const LocalAddress& local : addresses) {
    const std::string address = local.endpoint.text();
    text += (text.empty() ? "" : ", ") + local.device + " " + address.substr(0, address.rfind(':'));
  }
  return text;
}

const LocalAddress* best(const std::vector<LocalAddress>& addresses, const std::string& device) {
  const LocalAddress* chosen = nullptr;
  for (const LocalAddress& local : addresses) {
    if (!device.empty() && local.device != device) continue;
    if (!chosen || local.rank < chosen->rank) chosen = &local;
  }
  return chosen;
}

bool resolve(const std::string& host, Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &raw) != 0) return false;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(raw, freeaddrinfo);
  endpoint = from_sockaddr(raw->ai_addr);
  return true;
}

}  // namespace

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string errno_text(int error) { return std::system_category().message(error); }

std::string Endpoint::text() const {
  char host[INET6_ADDRSTRLEN] = "?";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
    return concat(host, ":", ntohs(v4.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
    return concat("[", host, "]:", ntohs(v6.sin6_port));
  }
  return "unknown address";
}

Endpoint parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  Endpoint endpoint;
  if (colon != std::string::npos) {
    std::string host = text.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
    if (error == std::errc() && stop == end && port != 0 &&
        numeric_endpoint(host, port, endpoint)) {
      return endpoint;
    }
  }
  fail(ErrorCode::kInvalidArgument, "not the address of a rank: '", text,
       "' (expected 'IPv4:port' or '[IPv6]:port' as Communicator::address() gives it)");
}

Endpoint local_endpoint(const std::string& interface) {
  const char* spark_ip = std::getenv("SPARK_LOCAL_IP");
  const std::string wanted = interface.empty() && spark_ip ? spark_ip : interface;
  const std::vector<LocalAddress> addresses = local_addresses();
  if (const LocalAddress* local = best(addresses, wanted)) return local->endpoint;
  Endpoint endpoint;
  const bool known =
      !wanted.empty() && (numeric_endpoint(wanted, 0, endpoint) || resolve(wanted, endpoint));
  CAFFE_REQUIRE(known, "network interface '", wanted,
                "' is neither an address nor a host name nor a device of this machine (it has: ",
                describe(addresses), ")");
  CAFFE_REQUIRE(
      !is_wildcard(endpoint), "network interface '", wanted,
      "' is no address that other hosts can connect to; name one of: ", describe(addresses));
  return endpoint;
}

Descriptor listen_at(Endpoint& endpoint) {
  const std::string where = endpoint.text();
  Descriptor listener(
      socket(endpoint.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener || bind(listener.get(), endpoint.address(), endpoint.size) != 0 ||
      ::listen(listener.get(), kBacklog) != 0 ||
      getsockname(listener.get(), endpoint.address(), &endpoint.size) != 0) {
    const int error = errno;
    fail(ErrorCode::kCommunication, "cannot listen at ", where, ": ", errno_text(error),
         error == EADDRNOTAVAIL
             ? concat("; this machine has the addresses: ", describe(local_addresses()))
             : "");
  }
  return listener;
}

Descriptor begin_connect(const Endpoint& endpoint) {
  Descriptor socket_fd(
      socket(endpoint.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_fd) return socket_fd;
  tune(socket_fd.get());
  if (connect(socket_fd.get(), endpoint.address(), endpoint.size) != 0 && errno != EINPROGRESS) {
    const int error = errno;
    socket_fd.reset();
    errno = error;
  }
  return socket_fd;
}

Descriptor accept_from(int listener, Endpoint& from) {
  from.size = sizeof(from.storage);
  Descriptor socket_fd(accept4(listener, from.address(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket_fd) tune(socket_fd.get());
  return socket_fd;
}

Event::Event() : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  CAFFE_REQUIRE_CODE(event_, ErrorCode::kCommunication,
                     "cannot make an event descriptor: ", errno_text(errno));
}

void Event::signal() noexcept {
  const uint64_t one = 1;
  // The counter can only be full if it is already signalled.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
}

void Event::clear() noexcept {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof(count));
}

}  // namespace caffe

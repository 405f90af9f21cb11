#include "collective/plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "collective/caffe_transport.h"
#include "core/log.h"
#include "core/shared_library.h"

namespace caffe {
namespace {

constexpr const char* kInfiniband = "infiniband";
constexpr size_t kMaxAddress = 1000;

// What a plug-in's function writes its reason to.
struct Reason {
  std::array<char, 512> text{};
  std::string str() {
    text.back() = '\0';
    return text[0] ? text.data() : "it gave no reason";
  }
};

class PluginTransport : public Transport {
 public:
  PluginTransport(const std::string& name, const caffe_transport_api& api)
      : name_(name), api_(api) {
    Reason reason;
    transport_ = api.create(reason.text.data(), reason.text.size());
    CAFFE_REQUIRE_CODE(transport_, ErrorCode::kCommunication, "transport ", name,
                       " cannot be set up: ", reason.str());
  }
  ~PluginTransport() override { api_.destroy(transport_); }

  std::string local_address() override {
    const char* address = api_.address(transport_);
    std::string text = address ? address : "";
    const bool fine = text.size() <= kMaxAddress &&
                      std::all_of(text.begin(), text.end(),
                                  [](char c) { return c > ' ' && c <= '~' && c != ';'; });
    CAFFE_REQUIRE_CODE(fine, ErrorCode::kCommunication, "transport ", name_,
                       " has an address that is too long or not printable");
    return text;
  }

  int streams_per_peer() const override { return api_.streams_per_peer; }

  void connect(Wiring wiring) override {
    std::vector<const char*> addresses;
    std::vector<int> streams;
    for (int peer = 0; peer < wiring.world; ++peer) {
      addresses.push_back(wiring.addresses[peer].c_str());
      for (int i = 0; i < api_.streams_per_peer; ++i) {
        // The plug-in owns it from now on.
        streams.push_back(peer == wiring.rank ? -1 : wiring.streams[peer][i].release().release());
      }
    }
    caffe_wiring wired{};
    wired.size = sizeof(wired);
    wired.rank = wiring.rank;
    wired.world = wiring.world;
    wired.addresses = addresses.data();
    wired.streams = streams.data();
    wired.wake = wiring.wake;
    wired.timeout_ms = wiring.timeout.count();
    Reason reason;
    CAFFE_REQUIRE_CODE(
        api_.connect(transport_, &wired, reason.text.data(), reason.text.size()) == 0,
        ErrorCode::kCommunication, "transport ", name_, " cannot connect: ", reason.str());
  }

  void send(Request& request) override {
    if (request.bytes > 0) api_.send(transport_, &request);
  }
  void receive(Request& request) override {
    if (request.bytes > 0) api_.receive(transport_, &request);
  }

  bool progress(std::chrono::milliseconds patience) override {
    int32_t peer = -1;
    Reason reason;
    const int moved =
        api_.progress(transport_, patience.count(), &peer, reason.text.data(), reason.text.size());
    caffe_transport_counters now{};
    api_.counters(transport_, &now);
    counters_.bytes_sent.store(now.bytes_sent, std::memory_order_relaxed);
    counters_.bytes_received.store(now.bytes_received, std::memory_order_relaxed);
    counters_.nanoseconds_waited.store(static_cast<int64_t>(now.nanoseconds_waited),
                                       std::memory_order_relaxed);
    if (moved < 0) throw PeerLost{peer, reason.str()};
    return moved > 0;
  }

 private:
  const std::string name_;
  const caffe_transport_api& api_;
  void* transport_ = nullptr;
};

// Where this library lies: those that are shipped with it lie there, too.
std::string own_folder() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<void*>(&own_folder), &self) == 0 || !self.dli_fname) return "";
  const std::string file = self.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash);
}

std::vector<std::string> folders(const std::string& path) {
  const char* more = std::getenv("CAFFE_TRANSPORT_PATH");
  return folders_of(path + ":" + (more ? more : "") + ":" + own_folder());
}

// Null with a sentence in `why` where it is not there or cannot work here. Libraries stay loaded.
const caffe_transport_api* find_plugin(const std::string& name, const std::string& path,
                                       std::string* why) {
  const std::string file = "libcaffe_transport_" + name + ".so";
  std::string searched;
  void* library = find_library(file, folders(path), "transport", &searched);
  if (!library) {
    *why = concat("there is no ", file, " in ", searched, " (CAFFE_TRANSPORT_PATH adds folders)");
    return nullptr;
  }
  using Entry = const caffe_transport_api* (*)();
  const auto entry = reinterpret_cast<Entry>(library_function(library, "caffe_transport_entry"));
  CAFFE_REQUIRE(entry, file, " is no transport: it has no function caffe_transport_entry");
  const caffe_transport_api* api = entry();
  CAFFE_REQUIRE(
      api && api->version == CAFFE_TRANSPORT_VERSION && api->size >= sizeof(caffe_transport_api),
      file, " was built for version ", api ? api->version : 0,
      " of caffe_transport.h; this program needs ", CAFFE_TRANSPORT_VERSION, ": build it anew");
  if (const char* reason = api->unavailable()) {
    *why = reason;
    return nullptr;
  }
  return api;
}

}  // namespace

NamedTransport make_transport(const std::string& name, const std::string& path) {
  if (TransportRegistry::has(name)) return {name, TransportRegistry::get(name)()};
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_';
  });
  CAFFE_REQUIRE(plain, "'", name,
                "' cannot be the name of a transport; letters, digits and '_' can");
  std::string why;
  if (const caffe_transport_api* api = find_plugin(name, path, &why)) {
    return {name, std::make_unique<PluginTransport>(name, *api)};
  }
  CAFFE_REQUIRE(name == kInfiniband, "transport ", name, " cannot be used: ", why,
                "; built in: ", TransportRegistry::names());
  CAFFE_LOG_WARNING("Data travels by TCP instead of InfiniBand: ", why, ".");
  return {kBuiltInTransport, TransportRegistry::get(kBuiltInTransport)()};
}

}  // namespace caffe

#include "collective/infiniband/port.h"

#include <cstdlib>
#include <cstring>

namespace caffe::infiniband {
namespace {

std::string setting(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

// How good an address is to reach other hosts by; below 0: it cannot be used.
int rank_of(const ibv_gid_entry& entry) {
  static const unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool ipv4 = std::memcmp(entry.gid.raw, kMapped, sizeof(kMapped)) == 0;
  if (entry.gid_type == IBV_GID_TYPE_ROCE_V2) return ipv4 ? 3 : 2;
  return entry.gid_type == IBV_GID_TYPE_ROCE_V1 ? 1 : -1;
}

void choose_gid(Port* port, int count) {
  const Verbs& verbs = *port->verbs;
  const std::string wanted = setting("CAFFE_IB_GID_INDEX");
  if (!wanted.empty() || !port->ethernet) {
    port->gid_index = std::atoi(wanted.c_str());
    if (verbs.query_gid(port->context.get(), port->number, port->gid_index, &port->gid) != 0) {
      throw "port " + port->name + " has no address number " + std::to_string(port->gid_index) +
          " (CAFFE_IB_GID_INDEX)";
    }
    return;
  }
  int best = -1;
  for (int index = 0; index < count; ++index) {
    ibv_gid_entry entry{};
    if (verbs.query_gid_ex(port->context.get(), port->number, static_cast<uint32_t>(index), &entry,
                           0, sizeof(entry)) != 0)
      continue;
    if (rank_of(entry) <= best) continue;
    best = rank_of(entry);
    port->gid_index = index;
    port->gid = entry.gid;
  }
  if (best < 0) throw "port " + port->name + " has no address: give its network interface one";
}

// Whether the port is one to use: it is open then.
bool try_port(Port* port, uint8_t number) {
  ibv_port_attr attributes{};
  if (port->verbs->query_port(port->context.get(), number, &attributes) != 0 ||
      attributes.state != IBV_PORT_ACTIVE)
    return false;
  port->number = number;
  port->lid = attributes.lid;
  port->mtu = attributes.active_mtu;
  port->ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
  port->name.append(":").append(std::to_string(number));
  choose_gid(port, attributes.gid_tbl_len);
  return true;
}

bool try_device(Port* port, ibv_device* device, const std::string& wanted) {
  const Verbs& verbs = *port->verbs;
  port->name = verbs.get_device_name(device);
  const size_t colon = wanted.find(':');
  if (!wanted.empty() && port->name != wanted.substr(0, colon)) return false;
  port->context = Owned<ibv_context>(verbs.open_device(device), {verbs.close_device});
  if (!port->context) return false;
  ibv_device_attr attributes{};
  if (verbs.query_device(port->context.get(), &attributes) != 0) return false;
  if (colon != std::string::npos) {
    return try_port(port, static_cast<uint8_t>(std::atoi(wanted.c_str() + colon + 1)));
  }
  for (uint8_t number = 1; number <= attributes.phys_port_cnt; ++number) {
    if (try_port(port, number)) return true;
  }
  return false;
}

}  // namespace

Port open_port() {
  std::string why;
  Port port;
  port.verbs = load_verbs(&why);
  if (port.verbs == nullptr) throw why;
  int count = 0;
  const auto free_list = port.verbs->free_device_list;
  const std::unique_ptr<ibv_device*, decltype(free_list)> devices(
      port.verbs->get_device_list(&count), free_list);
  if (!devices || count == 0) throw std::string("this host has no InfiniBand or RoCE device");
  const std::string wanted = setting("CAFFE_IB_DEVICE");
  for (int i = 0; i < count; ++i) {
    if (try_device(&port, devices.get()[i], wanted)) return port;
  }
  throw wanted.empty() ? std::string("no port of this host's InfiniBand or RoCE devices is active")
                       : "there is no active port " + wanted + " (CAFFE_IB_DEVICE)";
}

}  // namespace caffe::infiniband

#pragma once

#include <infiniband/verbs.h>

#include <string>

namespace caffe::infiniband {

// The functions of libibverbs that the transport calls. The library is loaded only where the
// transport is asked for: most machines have neither it nor a device. What verbs.h defines in line
// (posting, polling) goes to the device's driver directly.
struct Verbs {
  decltype(&ibv_fork_init) fork_init;
  decltype(&ibv_get_device_list) get_device_list;
  decltype(&ibv_free_device_list) free_device_list;
  decltype(&ibv_get_device_name) get_device_name;
  decltype(&ibv_open_device) open_device;
  decltype(&ibv_close_device) close_device;
  decltype(&ibv_query_device) query_device;
  int (*query_port)(ibv_context*, uint8_t, ibv_port_attr*);
  decltype(&ibv_query_gid) query_gid;
  decltype(&_ibv_query_gid_ex) query_gid_ex;
  decltype(&ibv_alloc_pd) alloc_pd;
  decltype(&ibv_dealloc_pd) dealloc_pd;
  ibv_mr* (*reg_mr)(ibv_pd*, void*, size_t, int);
  decltype(&ibv_dereg_mr) dereg_mr;
  decltype(&ibv_create_comp_channel) create_comp_channel;
  decltype(&ibv_destroy_comp_channel) destroy_comp_channel;
  decltype(&ibv_create_cq) create_cq;
  decltype(&ibv_destroy_cq) destroy_cq;
  decltype(&ibv_get_cq_event) get_cq_event;
  decltype(&ibv_ack_cq_events) ack_cq_events;
  decltype(&ibv_create_qp) create_qp;
  decltype(&ibv_modify_qp) modify_qp;
  decltype(&ibv_destroy_qp) destroy_qp;
  decltype(&ibv_wc_status_str) wc_status_str;
};

// Null where the library cannot be loaded, with the reason in `why`. Stays loaded.
const Verbs* load_verbs(std::string* why);

}  // namespace caffe::infiniband

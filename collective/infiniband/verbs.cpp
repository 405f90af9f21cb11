#include "collective/infiniband/verbs.h"

#include <dlfcn.h>

namespace caffe::infiniband {
namespace {

constexpr const char* kLibrary = "libibverbs.so.1";

template <typename Function>
bool find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

bool find_all(void* library, Verbs* v) {
  return find(library, "ibv_fork_init", &v->fork_init) &&
         find(library, "ibv_get_device_list", &v->get_device_list) &&
         find(library, "ibv_free_device_list", &v->free_device_list) &&
         find(library, "ibv_get_device_name", &v->get_device_name) &&
         find(library, "ibv_open_device", &v->open_device) &&
         find(library, "ibv_close_device", &v->close_device) &&
         find(library, "ibv_query_device", &v->query_device) &&
         find(library, "ibv_query_port", &v->query_port) &&
         find(library, "ibv_query_gid", &v->query_gid) &&
         find(library, "_ibv_query_gid_ex", &v->query_gid_ex) &&
         find(library, "ibv_alloc_pd", &v->alloc_pd) &&
         find(library, "ibv_dealloc_pd", &v->dealloc_pd) &&
         find(library, "ibv_reg_mr", &v->reg_mr) && find(library, "ibv_dereg_mr", &v->dereg_mr) &&
         find(library, "ibv_create_comp_channel", &v->create_comp_channel) &&
         find(library, "ibv_destroy_comp_channel", &v->destroy_comp_channel) &&
         find(library, "ibv_create_cq", &v->create_cq) &&
         find(library, "ibv_destroy_cq", &v->destroy_cq) &&
         find(library, "ibv_get_cq_event", &v->get_cq_event) &&
         find(library, "ibv_ack_cq_events", &v->ack_cq_events) &&
         find(library, "ibv_create_qp", &v->create_qp) &&
         find(library, "ibv_modify_qp", &v->modify_qp) &&
         find(library, "ibv_destroy_qp", &v->destroy_qp) &&
         find(library, "ibv_wc_status_str", &v->wc_status_str);
}

struct Loaded {
  Verbs verbs{};
  std::string why;  // empty where it is there
};

Loaded load() {
  Loaded loaded;
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    loaded.why = std::string(kLibrary) +
                 " cannot be loaded (on Debian it is in the packages libibverbs1 and "
                 "ibverbs-providers)";
  } else if (!find_all(library, &loaded.verbs)) {
    loaded.why = std::string(kLibrary) + " is too old: " + dlerror();
  } else {
    // Memory that a device may write to must not become a child's copy when the JVM starts one.
    loaded.verbs.fork_init();
  }
  return loaded;
}

}  // namespace

const Verbs* load_verbs(std::string* why) {
  static const Loaded loaded = load();
  *why = loaded.why;
  return loaded.why.empty() ? &loaded.verbs : nullptr;
}

}  // namespace caffe::infiniband

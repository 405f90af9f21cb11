#include "data/record_source.h"

#include "data/plugin_source.h"

namespace caffe {

std::shared_ptr<RecordSource> open_records(const std::string& backend, const std::string& path) {
  CAFFE_REQUIRE(!path.empty(), "no source is given for a record store of type ", backend);
  if (is_plugin(backend)) return open_plugin_records(backend, path);
  return RecordBackends::get(backend)(path);
}

}  // namespace caffe

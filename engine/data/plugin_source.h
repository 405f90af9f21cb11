#pragma once

#include <memory>
#include <string>

#include "data/record_source.h"

namespace caffe {

// Opens a store whose format comes from outside (data/caffe_data.h): `library` is a file name,
// libcaffe_data_NAME.so, looked for in the folders of CAFFE_DATA_PATH, in the working folder and
// where the system's loader looks, or a path. The views of a record live until the calling thread
// reads the next one of any such store.
std::shared_ptr<RecordSource> open_plugin_records(const std::string& library,
                                                  const std::string& path);

// Whether a backend's name means such a library: it ends in ".so".
bool is_plugin(const std::string& backend);

}  // namespace caffe

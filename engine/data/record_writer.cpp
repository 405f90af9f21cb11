#include "data/record_writer.h"

namespace caffe {

std::unique_ptr<RecordWriter> create_records(const std::string& backend, const std::string& path) {
  CAFFE_REQUIRE(!path.empty(), "no path is given for the record store of type ", backend,
                " to create");
  return RecordWriters::get(backend)(path);
}

}  // namespace caffe

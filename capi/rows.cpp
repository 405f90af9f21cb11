#include <string_view>

#include "capi/caffe_c.h"
#include "capi/status.h"
#include "data/row_file.h"

struct caffe_rows {
  caffe::RowFileWriter file;
};

using caffe::capi::given;
using caffe::capi::guarded;

extern "C" {

int caffe_rows_create(const char* path, const char* name, caffe_rows** rows) {
  return guarded([&] {
    *given(rows, "rows") = new caffe_rows{{given(path, "path"), given(name, "name")}};
  });
}

int caffe_rows_append(caffe_rows* rows, const uint8_t* bytes, size_t size) {
  return guarded([&] {
    const auto* text = reinterpret_cast<const char*>(given(bytes, "bytes"));
    given(rows, "rows")->file.append({text, size});
  });
}

int caffe_rows_finish(caffe_rows* rows, int64_t* count) {
  return guarded([&] {
    const int64_t found = given(rows, "rows")->file.finish();
    if (count) *count = found;
  });
}

void caffe_rows_free(caffe_rows* rows) { delete rows; }

}  // extern "C"

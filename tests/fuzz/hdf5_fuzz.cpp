// HDF5 files of ours: any bytes that libhdf5 itself survives give a model, a state or arrays, or an
// Error. The library is not ours: only what it tells of a file is looked at here.
#include <cstdint>
#include <string>
#include <vector>

#include "core/log.h"
#include "data/hdf5.h"
#include "fuzz/scratch_file.h"
#include "fuzz/survive.h"
#include "io/snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;
  using fuzz::survive;
  const fuzz::ScratchFile file(data, size);
  if (!file.whole()) return 0;
  survive([&] { read_model(file.path()); });
  survive([&] { read_state(file.path()); });
  survive([&] {
    const Hdf5File content = Hdf5File::open(file.path());
    for (const std::string& name : content.children("/")) {
      survive([&] {
        std::vector<float> values;
        content.read_floats(name, values);
      });
      survive([&] { content.read_string(name); });
      survive([&] { content.read_int(name); });
    }
  });
  return 0;
}

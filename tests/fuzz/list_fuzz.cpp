// Text files that list pictures, windows and HDF5 files: any text gives samples or an Error.
#include <cstdint>
#include <string>

#include "core/log.h"
#include "data/sample_source.h"
#include "fuzz/scratch_file.h"
#include "fuzz/survive.h"
#include "io/prototxt.h"
#include "net/net.h"

namespace {

void run_data_layer(const std::string& layer) {
  using namespace caffe;
  NetOptions options;
  options.phase = TRAIN;
  Net net(parse_net("layer { name: 'data' top: 'data' top: 'label' " + layer + " }", "net"),
          options);
  net.forward();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;
  set_log_threshold(Severity::kError);
  const fuzz::ScratchFile file(data, size);
  // Names within the list lead nowhere but to the one picture of the corpus.
  const std::string folder = "tests/fuzz/corpus/image/";
  if (!file.whole()) return 0;
  fuzz::survive([&] {
    const auto pictures = image_list(file.path(), {folder, true, 0, 0});
    Transformer::Scratch scratch;
    for (int64_t i = 0; i < std::min<int64_t>(pictures->size(), 4); ++i)
      fuzz::survive([&] { pictures->sample(i, scratch); });
  });
  fuzz::survive([&] {
    run_data_layer(
        "type: 'WindowData' transform_param { crop_size: 8 } window_data_param { source: '" +
        file.path() + "' batch_size: 4 context_pad: 2 root_folder: '" + folder + "' }");
  });
  fuzz::survive([&] {
    run_data_layer("type: 'HDF5Data' hdf5_data_param { source: '" + file.path() +
                   "' batch_size: 2 }");
  });
  return 0;
}

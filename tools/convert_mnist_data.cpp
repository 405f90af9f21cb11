// Turns MNIST's idx files into an LMDB or LevelDB of Datum records: keys 00000000 ..., 1 x height x
// width bytes, label.

#include <cctype>
#include <cstdio>
#include <iostream>
#include <string>

#include "core/error.h"
#include "data/idx.h"
#include "data/record_writer.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"
#include "tools/common/flags.h"

namespace caffe {
namespace {

void convert(const std::string& images_path, const std::string& labels_path,
             const std::string& store, const std::string& backend) {
  const IdxFile images = read_idx_images(images_path);
  const IdxFile labels = read_idx_labels(labels_path);
  CAFFE_REQUIRE_CODE(images.items == labels.items, ErrorCode::kData, images_path, " holds ",
                     images.items, " images, but ", labels_path, " ", labels.items, " labels");
  std::string upper = backend;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto writer = create_records(upper, store);
  const auto size = static_cast<size_t>(images.height) * static_cast<size_t>(images.width);
  Datum datum;
  datum.set_channels(1);
  datum.set_height(images.height);
  datum.set_width(images.width);
  std::string value;
  for (int64_t i = 0; i < images.items; ++i) {
    const auto at = static_cast<size_t>(i);
    datum.set_data(images.values.data() + at * size, size);
    datum.set_label(static_cast<unsigned char>(labels.values[at]));
    datum.SerializeToString(&value);
    char key[32];
    std::snprintf(key, sizeof(key), "%08lld", static_cast<long long>(i));
    writer->put(key, value);
  }
  writer->finish();
  std::cout << "Wrote " << images.items << " records of 1 x " << images.height << " x "
            << images.width << " to " << store << " (" << upper << ")\n";
}

void run(int argc, char** argv) {
  Flags flags;
  flags.add("backend", "lmdb", "kind of store: lmdb or leveldb")
      .add_switch("help", "show this text");
  add_log_flags(&flags);
  flags.parse({argv + 1, argv + argc});
  const auto& files = flags.positional();
  const std::string usage =
      "usage: convert_mnist_data [flags] image_file label_file db_path\n"
      "  the files are MNIST's idx files, plain or .gz; db_path is created\n" +
      flags.help();
  if (flags.on("help")) {
    std::cout << usage;
    return;
  }
  CAFFE_REQUIRE(files.size() == 3, "found ", files.size(),
                " file names, expected image_file label_file db_path; -help tells more");
  apply_log_flags(flags);
  convert(files[0], files[1], files[2], flags.text("backend"));
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  return caffe::run_command("convert_mnist_data", [&] { caffe::run(argc, argv); });
}

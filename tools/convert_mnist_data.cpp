// Turns MNIST's idx files into an LMDB or LevelDB of Datum records: keys 00000000 ..., 1 x height x
// width bytes, label.

#include <cstdio>
#include <iostream>
#include <string>

#include "core/error.h"
#include "data/idx.h"
#include "data/record_writer.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

void convert(const std::string& images_path, const std::string& labels_path,
             const std::string& store, const std::string& backend) {
  const IdxFile images = read_idx_images(images_path);
  const IdxFile labels = read_idx_labels(labels_path);
  CAFFE_REQUIRE_CODE(images.items == labels.items, ErrorCode::kData, images_path, " holds ",
                     images.items, " images, but ", labels_path, " ", labels.items, " labels");
  const auto writer = create_records(backend, store);
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
            << images.width << " to " << store << " (" << backend << ")\n";
}

Program program() {
  Program program{"convert_mnist_data", "image_file label_file db_path",
                  "Turns MNIST's idx files, plain or .gz, into a store of Datum records: keys "
                  "00000000, 00000001, ..., 1 x height x width bytes, label. db_path is created.",
                  Flags(),
                  "convert_mnist_data train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz "
                  "mnist_train_lmdb"};
  add_backend_flag(&program.flags);
  return program;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  return caffe::run_program(caffe::program(), argc, argv, [](const caffe::Flags& flags) {
    const auto& names = flags.positional();
    caffe::convert(names[0], names[1], names[2], caffe::backend_flag(flags));
  });
}

// Turns MNIST's idx files into an LMDB or LevelDB of Datum records: keys 00000000 ..., 1 x height x width bytes, label.

#include <CLI/CLI.hpp>

#include <cctype>
#include <cstdio>
#include <iostream>

#include "core/error.h"
#include "data/idx.h"
#include "data/record_writer.h"
#include "proto/caffe.pb.h"

namespace {

// Caffe's programs take their flags with one dash or two.
std::vector<std::string> with_two_dashes(int argc, char** argv) {
  std::vector<std::string> args;
  for (int i = argc - 1; i > 0; --i) {  // CLI11 takes the last first
    std::string arg = argv[i];
    if (arg.size() > 2 && arg[0] == '-' && arg[1] != '-') arg.insert(0, 1, '-');
    args.push_back(arg);
  }
  return args;
}

void convert(const std::string& images_path, const std::string& labels_path, const std::string& store,
             const std::string& backend) {
  const caffe::IdxFile images = caffe::read_idx_images(images_path);
  const caffe::IdxFile labels = caffe::read_idx_labels(labels_path);
  CAFFE_REQUIRE_CODE(images.items == labels.items, caffe::ErrorCode::kData, images_path, " holds ", images.items,
                     " images, but ", labels_path, " ", labels.items, " labels");
  std::string upper = backend;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto writer = caffe::create_records(upper, store);
  const auto size = static_cast<size_t>(images.height) * static_cast<size_t>(images.width);
  caffe::Datum datum;
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
  std::cout << "Wrote " << images.items << " records of 1 x " << images.height << " x " << images.width << " to "
            << store << " (" << upper << ")\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Converts idx files of images and labels (plain or .gz) to the store that Caffe's Data layer reads.",
               "convert_mnist_data"};
  std::string images, labels, store, backend = "lmdb";
  app.add_option("image_file", images, "idx file of the images, e.g. train-images-idx3-ubyte.gz")->required();
  app.add_option("label_file", labels, "idx file of the labels, e.g. train-labels-idx1-ubyte.gz")->required();
  app.add_option("db_path", store, "the store to create; must not exist")->required();
  app.add_option("--backend", backend, "lmdb or leveldb")->capture_default_str();
  try {
    std::vector<std::string> args = with_two_dashes(argc, argv);
    app.parse(args);
    convert(images, labels, store, backend);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const caffe::Error& error) {
    std::cerr << "convert_mnist_data: " << error.what() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "convert_mnist_data: " << error.what() << "\n";
  }
  return 1;
}

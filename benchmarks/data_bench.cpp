// How fast records become batches, as ratios to what the machine does at best:
//   lenet_batch  raw 1 x 28 x 28 records of an LMDB, scaled, in batches of 64, against memcpy of a
//                batch; with the processor time per image
//   jpeg_crop    256 x 256 JPEG records, mean image, crop to 227 and mirror, in batches of 32,
//                against a loop that only decodes the same records, and one that besides only
//                writes as many floats
// Times are processor times. Both sides are run in turn, `rounds` times; the medians are reported.
// Prints one JSON object.
//
// usage: data_bench [rounds]

#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "data/batch_loader.h"
#include "data/image.h"
#include "data/record_writer.h"
#include "data/scratch_folder.h"

namespace caffe {
namespace {

// Processor time of all threads, so that other programs on the machine disturb little.
template <typename Work>
double seconds(Work work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

std::string encode_jpeg(int size, std::mt19937& random) {
  std::vector<uint8_t> pixels(static_cast<size_t>(size) * size * 3);
  for (size_t i = 0; i < pixels.size(); ++i) {  // a slope with some noise, as photographs have
    pixels[i] =
        static_cast<uint8_t>(i / 3 % static_cast<size_t>(size) / 2 + i % 3 * 40 + random() % 24);
  }
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long bytes = 0;
  jpeg_mem_dest(&info, &memory, &bytes);
  info.image_width = info.image_height = static_cast<JDIMENSION>(size);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    uint8_t* row = pixels.data() + static_cast<size_t>(info.next_scanline) * size * 3;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(memory), bytes);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return file;
}

void write_store(const std::string& path, int count, const Datum& prototype,
                 const std::vector<std::string>& contents) {
  const auto writer = create_records("LMDB", path);
  Datum datum = prototype;
  for (int i = 0; i < count; ++i) {
    datum.set_data(contents[static_cast<size_t>(i) % contents.size()]);
    datum.set_label(i % 10);
    char key[16];
    std::snprintf(key, sizeof(key), "%08d", i);
    writer->put(key, datum.SerializeAsString());
  }
  writer->finish();
}

void lenet_batch(const std::string& folder, int rounds) {
  std::mt19937 random(1);
  Datum datum;
  datum.set_channels(1);
  datum.set_height(28);
  datum.set_width(28);
  std::vector<std::string> contents(100, std::string(784, '\0'));
  for (std::string& content : contents) {
    for (char& c : content) c = static_cast<char>(random());
  }
  write_store(folder + "/lenet", 60000, datum, contents);
  std::shared_ptr<RecordSource> source;
  std::vector<double> open, load, copy, copy_records;
  TransformationParameter param;
  param.set_scale(0.00390625f);
  const auto transformer = std::make_shared<Transformer>(param, TRAIN, 1, "data");
  const int batches = 900;
  std::vector<float> from(64 * 784, 1.0f), to(64 * 784);
  for (int round = 0; round < rounds; ++round) {
    open.push_back(seconds([&] { source = open_records("LMDB", folder + "/lenet"); }));
    BatchLoader loader(source, transformer, training_schedule(0, 1, 64), {});
    Batch batch;
    load.push_back(seconds([&] {
      for (int k = 0; k < batches; ++k) loader.next(batch);
    }));
    copy.push_back(seconds([&] {
      for (int k = 0; k < batches; ++k) {
        from[static_cast<size_t>(k)] = static_cast<float>(k);
        std::memcpy(to.data(), from.data(), to.size() * sizeof(float));
        asm volatile("" : : "r"(to.data()) : "memory");
      }
    }));
    // The cache holds those; what the loader reads comes out of the store.
    auto* const bytes = reinterpret_cast<char*>(to.data());
    copy_records.push_back(seconds([&] {
      for (int i = 0; i < batches * 64; ++i) {
        const std::string_view record = source->read(i).value;
        std::memcpy(bytes + i % 64 * 784, record.data() + record.size() - 784, 784);
        asm volatile("" : : "r"(bytes) : "memory");
      }
    }));
  }
  std::cout << "  \"lenet_batch\": {\"open_60000_ms\": " << median(open) * 1e3
            << ", \"us_per_batch\": " << median(load) / batches * 1e6
            << ", \"ns_per_image\": " << median(load) / batches / 64 * 1e9
            << ", \"memcpy_us\": " << median(copy) / batches * 1e6
            << ", \"copy_records_us\": " << median(copy_records) / batches * 1e6
            << ", \"ratio_to_memcpy\": " << median(load) / median(copy)
            << ", \"ratio_to_copy_records\": " << median(load) / median(copy_records) << "},\n";
}

void jpeg_crop(const std::string& folder, int rounds) {
  std::mt19937 random(2);
  Datum datum;
  datum.set_encoded(true);
  std::vector<std::string> contents;
  for (int i = 0; i < 16; ++i) contents.push_back(encode_jpeg(256, random));
  write_store(folder + "/jpeg", 512, datum, contents);
  BlobProto mean;
  for (const int64_t d : {1, 3, 256, 256}) mean.mutable_shape()->add_dim(d);
  for (int i = 0; i < 3 * 256 * 256; ++i) mean.add_data(120);
  const std::string mean_file = folder + "/mean";
  std::FILE* out = std::fopen(mean_file.c_str(), "wb");
  const std::string wire = mean.SerializeAsString();
  std::fwrite(wire.data(), 1, wire.size(), out);
  std::fclose(out);
  TransformationParameter param;
  param.set_mean_file(mean_file);
  param.set_crop_size(227);
  param.set_mirror(true);
  const auto source = open_records("LMDB", folder + "/jpeg");
  const auto transformer = std::make_shared<Transformer>(param, TRAIN, 1, "data");
  // The time of other threads is known to a few milliseconds only, so it has to be a long one.
  const int batches = 32;
  std::vector<double> load, decode, write;
  Image image;
  std::vector<float> floats(32 * 3 * 227 * 227);
  for (int round = 0; round < rounds; ++round) {
    Batch batch;
    {
      BatchLoader loader(source, transformer, training_schedule(0, 1, 32), {});
      for (int k = 0; k < batches; ++k) loader.next(batch);  // until the memory is there
      load.push_back(seconds([&] {
        for (int k = 0; k < batches; ++k) loader.next(batch);
      }));
    }
    decode.push_back(seconds([&] {
      for (int i = 0; i < batches * 32; ++i) {
        const DatumView record = parse_datum(source->read(i % source->size()), source->name());
        decode_image(record.data, ColorMode::kUnchanged, image);
      }
    }));
    write.push_back(seconds([&] {
      for (int k = 0; k < batches; ++k) {
        std::memset(floats.data(), k, floats.size() * sizeof(float));
        asm volatile("" : : "r"(floats.data()) : "memory");
      }
    }));
  }
  const int images = batches * 32;
  std::cout << "  \"jpeg_crop\": {\"us_per_image\": " << median(load) / images * 1e6
            << ", \"decode_us\": " << median(decode) / images * 1e6
            << ", \"write_us\": " << median(write) / images * 1e6
            << ", \"ratio_to_decode\": " << median(load) / median(decode)
            << ", \"ratio_to_both\": " << median(load) / (median(decode) + median(write)) << "}\n";
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 9;
  const caffe::ScratchFolder folder(caffe::ScratchFolder::temporary("data-bench-"));
  std::cout << "{\n";
  caffe::lenet_batch(folder.path(), rounds);
  caffe::jpeg_crop(folder.path(), rounds);
  std::cout << "}\n";
}

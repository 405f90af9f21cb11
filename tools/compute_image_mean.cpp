// The mean image of a store of Datum records, as `transform_param { mean_file }` reads it.

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/record_source.h"
#include "data/sample_source.h"
#include "io/files.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

// Sums, channel by channel, row by row. Doubles hold the sum of any number of bytes exactly.
class MeanImage {
 public:
  void add(const Transformer::Content& content, const Extents& extents) {
    if (sums_.empty()) {
      extents_ = extents;
      sums_.resize(static_cast<size_t>(extents.count()));
    }
    CAFFE_REQUIRE_CODE(extents == extents_, ErrorCode::kData, "is ", extents,
                       ", but the first record is ", extents_,
                       ": a mean needs records of one size; resize the images");
    const PixelView pixels = content.all_pixels();
    const size_t plane = sums_.size() / static_cast<size_t>(extents.channels);
    const auto channels = static_cast<size_t>(extents.channels);
    for (size_t i = 0; i < sums_.size(); ++i) {
      if (content.floats)
        sums_[i] += static_cast<double>(content.floats[i]);
      else
        sums_[i] += pixels.data[pixels.interleaved ? i % plane * channels + i / plane : i];
    }
    ++records_;
  }

  BlobProto blob() const {
    BlobProto blob;
    blob.set_num(1);
    blob.set_channels(extents_.channels);
    blob.set_height(extents_.height);
    blob.set_width(extents_.width);
    for (const double sum : sums_)
      blob.add_data(static_cast<float>(sum / static_cast<double>(records_)));
    return blob;
  }

  int64_t records() const { return records_; }

 private:
  Extents extents_;
  std::vector<double> sums_;
  int64_t records_ = 0;
};

void print_channels(const BlobProto& blob) {
  const int plane = blob.height() * blob.width();
  std::cout << "Number of channels: " << blob.channels() << "\n";
  for (int channel = 0; channel < blob.channels(); ++channel) {
    double sum = 0;
    for (int i = 0; i < plane; ++i) sum += static_cast<double>(blob.data(channel * plane + i));
    std::cout << "mean_value channel [" << channel << "]: " << sum / plane << "\n";
  }
}

void compute(const std::string& store, const std::string& backend, const std::string& file) {
  const auto transformer =
      std::make_shared<Transformer>(TransformationParameter(), TEST, 0, "compute_image_mean");
  const auto samples = datum_samples(open_records(backend, store), transformer);
  Transformer::Scratch scratch;
  MeanImage mean;
  for (int64_t i = 0; i < samples->size(); ++i) {
    try {
      const Transformer::Content content = samples->sample(i, scratch).content;
      mean.add(content, content.pixels.extents);
    } catch (const Error& error) {
      fail(error.code(), "record '", samples->key(i), "' of ", store, ": ", error.message());
    }
  }
  const BlobProto blob = mean.blob();
  if (!file.empty()) {
    write_message(file, blob);
    std::cout << "Wrote the mean of " << mean.records() << " records to " << file << "\n";
  }
  print_channels(blob);
}

Program program() {
  Program program{"compute_image_mean", "db_path [mean_file]",
                  "Computes the mean image of a store's records, all of which must have one size. "
                  "mean_file (usually .binaryproto) gets it, for transform_param { mean_file }; "
                  "the mean of each channel is printed, for transform_param { mean_value }.",
                  Flags(), "compute_image_mean train_lmdb mean.binaryproto"};
  add_backend_flag(&program.flags);
  return program;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  return caffe::run_program(caffe::program(), argc, argv, [](const caffe::Flags& flags) {
    const auto& names = flags.positional();
    caffe::compute(names[0], caffe::backend_flag(flags), names.size() == 2 ? names[1] : "");
  });
}

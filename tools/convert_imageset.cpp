// Turns the pictures of a list into an LMDB or LevelDB of Datum records.

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "data/image_encode.h"
#include "data/permutation.h"
#include "data/record_writer.h"
#include "data/sample_source.h"
#include "io/files.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// "jpg" for "a/b.JPEG"; empty if there is none.
std::string extension(const std::string& path) {
  const size_t dot = path.find_last_of("./");
  if (dot == std::string::npos || path[dot] == '/') return "";
  const std::string lower = lower_case(path.substr(dot + 1));
  return lower == "jpeg" ? "jpg" : lower;
}

struct Settings {
  ImageListOptions images;
  bool shuffle = false;
  bool check_size = false;
  bool encoded = false;
  std::string type;  // of encoded pictures; empty: that of each file
};

class Converter {
 public:
  Converter(const std::string& list, const Settings& settings)
      : settings_(settings), pictures_(image_list(list, settings.images)) {}

  // As Caffe: a picture that cannot be read is left out, its number stays unused.
  void write(RecordWriter& writer) {
    const int64_t count = pictures_->size();
    CAFFE_LOG_INFO("A total of ", count, " images.");
    const Permutation order(0, 0, count);
    std::string value;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t number = settings_.shuffle ? order(i) : i;
      const std::string path = pictures_->key(number);
      const std::string which =
          concat("picture ", number + 1, " of ", pictures_->name(), ", '", path, "',");
      if (!read(number, which)) continue;
      try {
        datum(path).SerializeToString(&value);
      } catch (Error& error) {
        throw error.prepend(which);
      }
      char prefix[32];
      std::snprintf(prefix, sizeof(prefix), "%08lld_", static_cast<long long>(i));
      writer.put(prefix + path, value);
      if (++written_ % 1000 == 0) CAFFE_LOG_INFO("Processed ", written_, " files.");
    }
    CAFFE_REQUIRE_CODE(written_ > 0, ErrorCode::kData, "none of the ", count, " pictures of ",
                       pictures_->name(), " can be read; correct the list, or the root folder '",
                       settings_.images.root, "'");
    if (written_ % 1000 != 0) CAFFE_LOG_INFO("Processed ", written_, " files.");
  }
  int64_t written() const { return written_; }
  int64_t skipped() const { return pictures_->size() - written_; }

 private:
  bool read(int64_t number, const std::string& which) {
    try {
      sample_ = pictures_->sample(number, scratch_);
      return true;
    } catch (const Error& error) {
      CAFFE_LOG_WARNING("skipped: ", which, " ", error.message());
      return false;
    }
  }

  // Of the picture that was read last.
  Datum datum(const std::string& path) {
    const bool resized = settings_.images.height > 0;
    const Image& image = resized ? scratch_.resized : scratch_.image;
    check(sample_.content.pixels.extents);
    // The sample has it as a float, as tops do.
    CAFFE_REQUIRE_CODE(std::abs(sample_.label) < float{1 << 24}, ErrorCode::kData, "has the label ",
                       sample_.label, ", expected less than 16777216");
    Datum datum;
    datum.set_label(static_cast<int>(sample_.label));
    if (settings_.encoded) {
      const std::string type = settings_.type.empty() ? extension(path) : settings_.type;
      datum.set_encoded(true);
      // A file that is what was asked for is taken as it is, even if it is in colour and gray was
      // asked for: Caffe does so.
      if (!resized && type == extension(path))
        datum.set_data(read_file(settings_.images.root + path));
      else
        datum.set_data(encode_image(image, type));
      return datum;
    }
    datum.set_channels(image.channels);
    datum.set_height(image.height);
    datum.set_width(image.width);
    set_planes(image, datum.mutable_data());
    datum.set_encoded(false);
    return datum;
  }

  void check(const Extents& extents) {
    if (!first_) first_ = extents;
    CAFFE_REQUIRE_CODE(!settings_.check_size || extents == *first_, ErrorCode::kData, "is ",
                       extents, ", but the first picture is ", *first_,
                       " (-check_size); -resize_height and -resize_width make all equal");
  }

  static void set_planes(const Image& image, std::string* planes) {
    const auto channels = static_cast<size_t>(image.channels);
    const size_t plane = image.pixels.size() / channels;
    planes->resize(image.pixels.size());
    for (size_t c = 0; c < channels; ++c) {
      for (size_t i = 0; i < plane; ++i)
        (*planes)[c * plane + i] = static_cast<char>(image.pixels[i * channels + c]);
    }
  }

  const Settings settings_;
  const std::shared_ptr<const SampleSource> pictures_;
  Transformer::Scratch scratch_;
  SampleSource::Sample sample_;
  int64_t written_ = 0;
  std::optional<Extents> first_;
};

Flags known_flags() {
  Flags flags;
  flags.add_switch("gray", "store gray pictures (1 channel)")
      .add_switch("shuffle", "store the pictures in a mixed order, the same at every run");
  add_backend_flag(&flags);
  flags.add("resize_width", "N", "0", "width of the stored pictures; 0: as they are")
      .add("resize_height", "N", "0", "height of the stored pictures; 0: as they are")
      .add_switch("check_size", "refuse pictures of different sizes")
      .add_switch("encoded", "store image files, not pixels: smaller, decoded while training")
      .add("encode_type", "TYPE", "",
           "jpg or png, with -encoded, which it implies; without it each file keeps its type");
  return flags;
}

Settings settings_of(const Flags& flags, const std::string& root) {
  Settings settings;
  constexpr int64_t kLargest = 65536;
  const int64_t height = flags.number("resize_height", 0);
  const int64_t width = flags.number("resize_width", 0);
  CAFFE_REQUIRE((height > 0) == (width > 0) && std::max(height, width) <= kLargest,
                "-resize_height ", height, " and -resize_width ", width,
                ": expected both or none, at most ", kLargest);
  settings.images = {root, !flags.on("gray"), static_cast<int>(height), static_cast<int>(width)};
  settings.shuffle = flags.on("shuffle");
  settings.check_size = flags.on("check_size");
  settings.type = lower_case(flags.text("encode_type"));
  if (settings.type == "jpeg") settings.type = "jpg";
  settings.encoded = flags.on("encoded") || !settings.type.empty();
  return settings;
}

void convert(const Flags& flags) {
  const auto& names = flags.positional();
  Converter converter(names[1], settings_of(flags, names[0]));
  const std::string backend = backend_flag(flags);
  const auto writer = create_records(backend, names[2]);
  if (flags.on("shuffle")) CAFFE_LOG_INFO("Shuffling data");
  converter.write(*writer);
  writer->finish();
  std::cout << "Wrote " << converter.written() << " records to " << names[2] << " (" << backend
            << ")";
  if (converter.skipped() > 0) std::cout << "; skipped " << converter.skipped() << " pictures";
  std::cout << "\n";
}

const char* const kAbout =
    "Turns the pictures of a list into a store of Datum records with the keys 00000000_PATH, "
    "00000001_PATH, ...\n"
    "list_file has one picture a line: path, blank, label (a whole number). root_folder/ is put in "
    "front of every path as it is, so it ends in a slash. db_path is created. A picture that "
    "cannot be read is skipped, with a warning that names it.";

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  return caffe::run_program(
      {"convert_imageset", "root_folder/ list_file db_path", caffe::kAbout, caffe::known_flags(),
       "convert_imageset -resize_height 256 -resize_width 256 -shuffle train/ train.txt "
       "train_lmdb"},
      argc, argv, caffe::convert);
}

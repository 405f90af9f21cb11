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
#include "data/image_encode.h"
#include "data/permutation.h"
#include "data/record_writer.h"
#include "data/sample_source.h"
#include "io/files.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"
#include "tools/common/flags.h"

namespace caffe {
namespace {

std::string changed_case(std::string text, int (*change)(int)) {
  for (char& c : text) c = static_cast<char>(change(static_cast<unsigned char>(c)));
  return text;
}

// "jpg" for "a/b.JPEG"; empty if there is none.
std::string extension(const std::string& path) {
  const size_t dot = path.find_last_of("./");
  if (dot == std::string::npos || path[dot] == '/') return "";
  const std::string lower = changed_case(path.substr(dot + 1), std::tolower);
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

  void write(RecordWriter& writer) {
    const int64_t count = pictures_->size();
    const Permutation order(0, 0, count);
    std::string value;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t number = settings_.shuffle ? order(i) : i;
      const std::string path = pictures_->key(number);
      try {
        datum(number, path).SerializeToString(&value);
      } catch (Error& error) {
        throw error.prepend(
            concat("picture ", number + 1, " of ", pictures_->name(), ", '", path, "',"));
      }
      char prefix[32];
      std::snprintf(prefix, sizeof(prefix), "%08lld_", static_cast<long long>(i));
      writer.put(prefix + path, value);
    }
  }
  int64_t size() const { return pictures_->size(); }

 private:
  Datum datum(int64_t number, const std::string& path) {
    const SampleSource::Sample sample = pictures_->sample(number, scratch_);
    const bool resized = settings_.images.height > 0;
    const Image& image = resized ? scratch_.resized : scratch_.image;
    check(sample.content.pixels.extents);
    // The sample has it as a float, as tops do.
    CAFFE_REQUIRE_CODE(std::abs(sample.label) < float{1 << 24}, ErrorCode::kData, "has the label ",
                       sample.label, ", expected less than 16777216");
    Datum datum;
    datum.set_label(static_cast<int>(sample.label));
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
  std::optional<Extents> first_;
};

Flags known_flags() {
  Flags flags;
  flags.add_switch("gray", "store gray pictures (1 channel)")
      .add_switch("shuffle", "store the pictures in a mixed order, the same at every run")
      .add("backend", "lmdb", "kind of store: lmdb or leveldb")
      .add("resize_width", "0", "width of the stored pictures; 0: as they are")
      .add("resize_height", "0", "height of the stored pictures; 0: as they are")
      .add_switch("check_size", "refuse pictures of different sizes")
      .add_switch("encoded", "store image files, not pixels: smaller, decoded while training")
      .add("encode_type", "", "jpg or png, with -encoded; none: the type of each file")
      .add_switch("help", "show this text");
  add_log_flags(&flags);
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
  settings.type = changed_case(flags.text("encode_type"), std::tolower);
  if (settings.type == "jpeg") settings.type = "jpg";
  settings.encoded = flags.on("encoded") || !settings.type.empty();
  return settings;
}

void run(int argc, char** argv) {
  Flags flags = known_flags();
  flags.parse({argv + 1, argv + argc});
  const auto& files = flags.positional();
  if (flags.on("help")) {
    std::cout << "usage: convert_imageset [flags] root_folder/ list_file db_path\n"
                 "  list_file has one picture a line: path, blank, label (a whole number);\n"
                 "  root_folder/ is put in front of every path, so it ends in a slash;\n"
                 "  db_path is created\n"
              << flags.help();
    return;
  }
  CAFFE_REQUIRE(files.size() == 3, "found ", files.size(),
                " names, expected root_folder/ list_file db_path; -help tells more");
  apply_log_flags(flags);
  Converter converter(files[1], settings_of(flags, files[0]));
  const std::string backend = changed_case(flags.text("backend"), std::toupper);
  const auto writer = create_records(backend, files[2]);
  converter.write(*writer);
  writer->finish();
  std::cout << "Wrote " << converter.size() << " records to " << files[2] << " (" << backend
            << ")\n";
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  return caffe::run_command("convert_imageset", [&] { caffe::run(argc, argv); });
}

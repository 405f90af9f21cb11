#include <charconv>
#include <fstream>
#include <sstream>
#include <vector>

#include "data/sample_source.h"

namespace caffe {
namespace {

std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CAFFE_REQUIRE_CODE(file.good(), ErrorCode::kIo,
                     "cannot be opened; correct the list, or the root_folder");
  std::ostringstream bytes;
  bytes << file.rdbuf();
  CAFFE_REQUIRE_CODE(!file.bad(), ErrorCode::kIo, "cannot be read");
  return std::move(bytes).str();
}

class ImageList : public SampleSource {
 public:
  ImageList(const std::string& list, const ImageListOptions& options)
      : list_(list), options_(options) {
    std::ifstream file(list);
    CAFFE_REQUIRE_CODE(file.good(), ErrorCode::kIo, "cannot open the list of images '", list, "'");
    int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) entries_.push_back(parse(line, number));
    }
    CAFFE_REQUIRE_CODE(!entries_.empty(), ErrorCode::kData, "the list of images '", list,
                       "' is empty");
  }

  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }
  const std::string& name() const override { return list_; }
  std::string key(int64_t number) const override { return entry(number).path; }

  Sample sample(int64_t number, Transformer::Scratch& scratch) const override {
    const ColorMode mode = options_.color ? ColorMode::kColor : ColorMode::kGray;
    decode_image(file_bytes(options_.root + entry(number).path), mode, scratch.image);
    const Image* image = &scratch.image;
    if (options_.height > 0) {
      resize_image(scratch.image, options_.height, options_.width, scratch.resized);
      image = &scratch.resized;
    }
    Sample sample;
    sample.content.pixels = {
        image->pixels.data(), {image->channels, image->height, image->width}, true};
    sample.label = static_cast<float>(entry(number).label);
    return sample;
  }

 private:
  struct Entry {
    std::string path;
    int label;
  };

  Entry parse(const std::string& line, int64_t number) const {
    const size_t blank = line.find_last_of(" \t");
    Entry entry{line.substr(0, line.find_last_not_of(" \t", blank) + 1), 0};
    bool good = blank != std::string::npos && !entry.path.empty();
    if (good) {
      const char* const end = line.data() + line.size();
      const auto parsed = std::from_chars(line.data() + blank + 1, end, entry.label);
      good = parsed.ec == std::errc() && parsed.ptr == end;
    }
    CAFFE_REQUIRE_CODE(good, ErrorCode::kData, "line ", number, " of the list of images '", list_,
                       "' is '", line, "', expected a path, a blank and a whole number, the label");
    return entry;
  }
  const Entry& entry(int64_t number) const { return entries_[static_cast<size_t>(number)]; }

  const std::string list_;
  const ImageListOptions options_;
  std::vector<Entry> entries_;
};

}  // namespace

std::shared_ptr<const SampleSource> image_list(const std::string& list,
                                               const ImageListOptions& options) {
  return std::make_shared<ImageList>(list, options);
}

}  // namespace caffe

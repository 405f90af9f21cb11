#pragma once

#include <string>

#include "data/image.h"

namespace caffe {

// An image file of 1 or 3 channels: "jpg" or "jpeg" (quality 95, as OpenCV's imencode) or "png".
// Another type throws kInvalidArgument.
std::string encode_image(const Image& image, const std::string& type);

}  // namespace caffe

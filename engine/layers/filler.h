#pragma once

#include "core/blob.h"
#include "core/random.h"
#include "proto/caffe.pb.h"

namespace caffe {

// Fills a blob's data as the parameter says (types constant, uniform, gaussian, xavier, msra). The
// values are a pure function of parameter, key and shape. Throws "Unknown filler type: X (known
// types: ...)".
void fill(const FillerParameter& param, uint64_t key, Blob& blob);

}  // namespace caffe

#pragma once

#include <memory>
#include <string>

#include "data/sample_source.h"

namespace caffe {

// What one top of a net takes from each row.
struct RowTop {
  std::string name;  // for messages
  int field = 0;     // which field of a row
  bool image = false;
  bool resize = false;  // images only: to the input's height and width, whatever they are
  Extents input = {};   // of a sample before its transformation
  Extents output = {};  // and after it
};

// One field of each row of a file. Images are decoded to as many channels as the top has (1: gray,
// 3: colour), and resized if the top wants that. A sample that does not come out as the top says is
// an error.
std::shared_ptr<const SampleSource> row_samples(std::shared_ptr<const RecordSource> rows,
                                                std::shared_ptr<const Transformer> transformer,
                                                RowTop top);

}  // namespace caffe

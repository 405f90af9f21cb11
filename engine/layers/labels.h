#pragma once

#include <optional>

#include "layers/layer.h"

namespace caffe {

// Class numbers as they come in a blob of floating-point numbers: truncated towards zero, as Caffe
// does.
class Labels {
 public:
  Labels(int64_t classes, std::optional<int> ignore) : classes_(classes), ignore_(ignore) {}

  template <typename T>
  bool ignored(T label) const {
    return ignore_ && label > static_cast<T>(*ignore_) - 1 &&
           label < static_cast<T>(*ignore_) + 1 && static_cast<int>(label) == *ignore_;
  }

  // Counts the labels that are not ignored. Throws where one of these is no class number; `inner`
  // labels belong to a row.
  template <typename T>
  int64_t check(const Layer& layer, const T* labels, int64_t count, int64_t inner) const {
    int64_t valid = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (ignored(labels[i])) continue;
      ++valid;
      const bool in_range =
          labels[i] > -1 && labels[i] < static_cast<T>(classes_);  // false for NaN
      if (in_range) continue;
      fail(ErrorCode::kData, layer.label(), " found label ", labels[i], " in row ", i / inner,
           inner > 1 ? concat(" at position ", i % inner) : std::string(),
           " of the batch, expected 0 to ", classes_ - 1, " (", classes_, " classes)",
           ignore_ ? concat(" or ignore_label ", *ignore_) : std::string(),
           "; correct the labels, or give the layer before as many outputs as there are classes");
    }
    return valid;
  }

 private:
  int64_t classes_;
  std::optional<int> ignore_;
};

}  // namespace caffe

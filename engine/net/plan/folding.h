#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "layers/operation.h"

namespace caffe {

// Layers that multiply each channel by a constant and add one (BatchNorm with running statistics,
// Scale) after a Convolution or InnerProduct that never runs backward: the same is done by other
// weights. A folding holds them, in a layer of its own, and makes them anew whenever one of the
// values they come from was written.
class Folding {
 public:
  // What can be folded from operations[index] on; null if nothing can. A blob that somebody
  // observes is never left out.
  static std::unique_ptr<Folding> find(const std::vector<Operation>& operations, size_t index);

  // The layer with the new weights, from the first one's bottom to the last one's top.
  const Operation& operation() const { return operation_; }
  // Layers that became one.
  size_t size() const { return 1 + folded_.size(); }
  // Runs `inner`, an implementation of operation(), on weights that are up to date.
  static std::unique_ptr<Implementation> wrap(std::unique_ptr<Folding> folding,
                                              std::unique_ptr<Implementation> inner);

 private:
  class WithCurrentWeights;
  Folding(const Operation& head, std::vector<Layer*> folded, const Operation& last);
  void update();
  template <typename T>
  void write_weights();

  const Layer& original_;
  std::vector<Layer*> folded_;
  std::unique_ptr<Layer> layer_;
  Operation operation_;
  std::vector<std::pair<std::shared_ptr<const Buffer>, uint64_t>>
      sources_;  // and the version last used
};

// Whether running the operation forward changes nothing: a Split, whose tops share its bottom's
// memory, a Silence, a Dropout that works in place and does not train.
bool does_nothing(const Operation& operation);
std::unique_ptr<Implementation> make_nothing();

}  // namespace caffe

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "layers/operation.h"

namespace caffe {

struct PlanOptions {
  bool fuse = true;
  bool portable_only = false;
};

// Operation `first` with those after it that may go along (ImplementationFactory::fuses), at most
// `limit` of them. A blob between two of them is left out only if nobody observes it.
Operation fuse(const std::vector<Operation>& operations, size_t first,
               const std::vector<std::string>& types, size_t limit);

// What happens, decided once: which layers run together, by which implementation, in which layouts.
// Running it is a walk over bound operations.
class Plan {
 public:
  // `operations`: one per layer, in order, unfused. Fuses, then asks the implementations, best
  // first.
  Plan(std::vector<Operation> operations, const PlanOptions& options);

  struct Step {
    int first = 0;  // layers first..last run as one
    int last = 0;
    bool backward = false;
    bool skips = false;  // blobs between its layers, which are not computed
    std::unique_ptr<Implementation> implementation;
    std::vector<std::string> refused;  // "onednn: reason"
  };
  const std::vector<Step>& steps() const { return steps_; }
  // Whether the layers first..last are whole steps.
  bool covers(int first, int last) const;
  std::string text() const;

 private:
  Step plan_step(size_t first, const PlanOptions& options) const;

  std::vector<Operation> operations_;
  std::vector<Step> steps_;
};

}  // namespace caffe

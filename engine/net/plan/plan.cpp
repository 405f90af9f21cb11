#include "net/plan/plan.h"

#include <algorithm>

#include "net/plan/folding.h"

namespace caffe {
namespace {

// The layers from operation `next_index` on that work in place on the only top of `head`.
std::vector<Layer*> in_place_followers(const std::vector<Operation>& operations,
                                       const Operation& head, size_t next_index) {
  std::vector<Layer*> followers;
  if (head.top.size() != 1) return followers;
  for (size_t i = next_index; i < operations.size(); ++i) {
    const Operation& next = operations[i];
    const bool in_place = next.bottom.size() == 1 && next.top.size() == 1 &&
                          next.bottom[0] == head.top[0] && next.top[0] == head.top[0] &&
                          next.layer->blobs().empty();
    if (!in_place || next.backward != head.backward) break;
    followers.push_back(next.layer);
  }
  return followers;
}

// Asks the registered factories, then the portable code. Null if everything refused (a fusion
// nobody can do).
std::unique_ptr<Implementation> choose(const Operation& operation, bool portable_only,
                                       std::vector<std::string>* refused) {
  if (!portable_only) {
    for (const ImplementationFactory& factory :
         ImplementationRegistry::of(operation.layer->type())) {
      try {
        return factory.make(operation);
      } catch (const Refusal& refusal) {
        const std::string with =
            operation.fused.empty() ? "" : " fused with " + operation.fused.back()->name();
        refused->push_back(factory.name + with + ": " + refusal.reason);
      }
    }
  }
  return operation.fused.empty() ? make_portable(operation) : nullptr;
}

}  // namespace

Plan::Plan(std::vector<Operation> operations, const PlanOptions& options)
    : operations_(std::move(operations)) {
  for (size_t i = 0; i < operations_.size();) i = add_step(i, options);
}

// Plans what runs as one from operation `index` on; returns the index after it.
size_t Plan::add_step(size_t index, const PlanOptions& options) {
  const bool fuses = options.fuse && !options.portable_only;
  Operation operation = operations_[index];
  size_t next = index + 1;
  Step step;
  step.first = static_cast<int>(index);
  step.backward = operation.backward;
  if (fuses && does_nothing(operation)) {
    step.implementation = make_nothing();
  } else {
    std::unique_ptr<Folding> folding;
    if (fuses) folding = Folding::find(operations_, index, options.kept);
    if (folding) {
      operation = folding->operation();
      next = index + folding->size();
    }
    if (fuses) operation.fused = in_place_followers(operations_, operation, next);
    with_label(*operation.layer, [&] {
      while ((step.implementation = choose(operation, options.portable_only, &step.refused)) ==
             nullptr) {
        operation.fused.pop_back();
      }
    });
    if (folding) {
      step.implementation = Folding::wrap(std::move(folding), std::move(step.implementation));
    }
    next += operation.fused.size();
  }
  step.last = static_cast<int>(next) - 1;
  steps_.push_back(std::move(step));
  return next;
}

bool Plan::covers(int first, int last) const {
  const auto inside = [&](const Step& s) { return s.first >= first && s.last <= last; };
  const auto outside = [&](const Step& s) { return s.last < first || s.first > last; };
  return std::all_of(steps_.begin(), steps_.end(),
                     [&](const Step& s) { return inside(s) || outside(s); });
}

std::string Plan::text() const {
  std::string text;
  for (const Step& step : steps_) {
    const Operation& head = operations_[static_cast<size_t>(step.first)];
    text += concat(head.layer->name(), " (", head.layer->type(), ")");
    for (int i = step.first + 1; i <= step.last; ++i) {
      text += " + " + operations_[static_cast<size_t>(i)].layer->name();
    }
    text += concat(": ", step.implementation->name(), ", ", step.implementation->details());
    size_t bytes = 0;
    for (const Blob* top : head.top)
      text += concat(", top ", top->shape().str()), bytes += top->data().bytes();
    if (step.backward) text += ", backward";
    if (bytes > 0) text += concat(", ", bytes, " bytes");
    text += "\n";
    for (const std::string& reason : step.refused) text += "    refused " + reason + "\n";
  }
  return text;
}

}  // namespace caffe

#include "net/plan/plan.h"

#include <algorithm>

namespace caffe {

Operation fuse(const std::vector<Operation>& operations, size_t first,
               const std::vector<std::string>& types, size_t limit) {
  Operation fused = operations[first];
  if (fused.top.size() != 1) return fused;
  auto allowed = types.begin();
  for (size_t i = first + 1; i < operations.size() && fused.fused.size() < limit; ++i) {
    const Operation& next = operations[i];
    allowed = std::find(allowed, types.end(), next.layer->type());
    if (allowed == types.end()) break;
    ++allowed;
    const bool follows = next.bottom.size() == 1 && next.top.size() == 1 &&
                         next.bottom[0] == fused.top[0] && next.backward == fused.backward &&
                         next.propagate_down[0] == fused.backward;
    const bool in_place = follows && next.top[0] == fused.top[0];
    if (!follows || (!in_place && fused.top_observed(0))) break;
    fused.top = next.top;
    fused.observed = next.observed;
    fused.fused.push_back(next.layer);
  }
  return fused;
}

Plan::Plan(std::vector<Operation> operations, const PlanOptions& options)
    : operations_(std::move(operations)) {
  for (size_t i = 0; i < operations_.size();) {
    with_label(*operations_[i].layer, [&] { steps_.push_back(choose(i, options)); });
    i = static_cast<size_t>(steps_.back().last) + 1;
  }
}

// Asks the registered factories, each for as many fused layers as it takes, then the portable code.
Plan::Step Plan::choose(size_t first, const PlanOptions& options) const {
  Step step;
  step.first = step.last = static_cast<int>(first);
  step.backward = operations_[first].backward;
  if (!options.portable_only) {
    for (const ImplementationFactory& factory :
         ImplementationRegistry::of(operations_[first].layer->type())) {
      size_t limit = options.fuse ? factory.fuses.size() : 0;
      std::string known;  // the reason that was given last
      while (true) {
        const Operation operation = fuse(operations_, first, factory.fuses, limit);
        try {
          step.implementation = factory.make(operation);
          step.last += static_cast<int>(operation.fused.size());
          step.skips = operation.top != operations_[first].top;
          return step;
        } catch (const Refusal& refusal) {
          const std::string with =
              operation.fused.empty() ? "" : " fused with " + operation.fused.back()->name();
          if (refusal.reason != known)
            step.refused.push_back(factory.name + with + ": " + refusal.reason);
          known = refusal.reason;
        }
        if (operation.fused.empty()) break;
        limit = operation.fused.size() - 1;
      }
    }
  }
  step.implementation = make_portable(operations_[first]);
  return step;
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
    for (const Blob* top : operations_[static_cast<size_t>(step.last)].top)
      text += concat(", top ", top->shape().str()), bytes += top->data().bytes();
    if (step.backward) text += ", backward";
    if (bytes > 0) text += concat(", ", bytes, " bytes");
    text += "\n";
    for (const std::string& reason : step.refused) text += "    refused " + reason + "\n";
  }
  return text;
}

}  // namespace caffe

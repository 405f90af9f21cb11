#include "net/plan/plan.h"

#include <algorithm>
#include <optional>

#include "net/plan/folding.h"

namespace caffe {
namespace {

// The bottoms of `next` beside the top of `head`, if it can run together with what `head` runs: its
// only top depends on the only one of `head`, and on nothing else where gradients go back. What
// other layers than Eltwise do with more bottoms, implementations do not know.
std::optional<Blobs> joined_bottoms(const Operation& head, const Operation& next) {
  if (next.top.size() != 1 || next.backward != head.backward) return std::nullopt;
  Blobs others = next.bottom;
  if (std::erase(others, head.top[0]) != 1) return std::nullopt;
  if (!others.empty() && (next.backward || next.layer->type() != "Eltwise")) return std::nullopt;
  if (next.backward && !next.propagate_down[0]) return std::nullopt;
  return others;
}

// Asks the registered factories, each for as many fused layers as it takes, then the portable code.
// Step::last counts the fused layers only.
Plan::Step choose(const std::vector<Operation>& operations, size_t first,
                  const PlanOptions& options) {
  Plan::Step step;
  if (!options.portable_only) {
    for (const ImplementationFactory& factory :
         ImplementationRegistry::of(operations[first].layer->type())) {
      size_t limit = options.fuse ? factory.fuses.size() : 0;
      std::string known;  // the reason that was given last
      while (true) {
        const Operation operation = fuse(operations, first, factory.fuses, limit);
        try {
          step.implementation = factory.make(operation);
          step.last = static_cast<int>(operation.fused.size());
          step.skips = operation.top != operations[first].top;
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
  step.implementation = make_portable(operations[first]);
  return step;
}

// Of the layout that the plan wants; memory is taken only when the net runs.
size_t bytes_of(const Buffer& buffer) {
  const LayoutPtr& layout = buffer.layout(buffer.preferred());
  return layout ? layout->bytes() : static_cast<size_t>(buffer.count()) * size_of(buffer.dtype());
}

}  // namespace

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
    const std::optional<Blobs> joined = joined_bottoms(fused, next);
    if (!joined || (next.top[0] != fused.top[0] && fused.top_observed(0))) break;
    fused.joined.insert(fused.joined.end(), joined->begin(), joined->end());
    fused.top = next.top;
    fused.observed = next.observed;
    fused.fused.push_back(next.layer);
  }
  return fused;
}

Plan::Plan(std::vector<Operation> operations, const PlanOptions& options)
    : operations_(std::move(operations)) {
  for (size_t i = 0; i < operations_.size();) {
    with_label(*operations_[i].layer, [&] { steps_.push_back(plan_step(i, options)); });
    i = static_cast<size_t>(steps_.back().last) + 1;
  }
}

// What runs as one from operation `first` on.
Plan::Step Plan::plan_step(size_t first, const PlanOptions& options) const {
  const bool fuses = options.fuse && !options.portable_only;
  Step step;
  if (fuses && does_nothing(operations_[first])) {
    step.implementation = make_nothing();
  } else if (auto folding = fuses ? Folding::find(operations_, first) : nullptr) {
    std::vector<Operation> folded = {folding->operation()};
    const size_t size = folding->size();
    folded.insert(folded.end(), operations_.begin() + static_cast<ptrdiff_t>(first + size),
                  operations_.end());
    step = choose(folded, 0, options);
    step.implementation = Folding::wrap(std::move(folding), std::move(step.implementation));
    step.last += static_cast<int>(size) - 1;
  } else {
    step = choose(operations_, first, options);
  }
  step.first = static_cast<int>(first);
  step.last += step.first;
  step.backward = operations_[first].backward;
  return step;
}

bool Plan::covers(int first, int last) const {
  const auto inside = [&](const Step& s) { return s.first >= first && s.last <= last; };
  const auto outside = [&](const Step& s) { return s.last < first || s.first > last; };
  return std::all_of(steps_.begin(), steps_.end(),
                     [&](const Step& s) { return inside(s) || outside(s); });
}

// A table with a row for each step, columns as wide as their widest cell; below a row, why faster
// implementations were refused.
std::string Plan::text() const {
  std::vector<std::vector<std::string>> rows = {
      {"layer (type)", "pass", "implementation", "kernel and layouts", "top", "bytes", "fused"}};
  size_t total = 0;
  for (const Step& step : steps_) {
    const Operation& head = operations_[static_cast<size_t>(step.first)];
    std::string fused, tops;
    for (int i = step.first + 1; i <= step.last; ++i) {
      fused += (fused.empty() ? "+ " : " + ") + operations_[static_cast<size_t>(i)].layer->name();
    }
    size_t bytes = 0;
    for (const Blob* top : operations_[static_cast<size_t>(step.last)].top) {
      tops += (tops.empty() ? "" : ", ") + top->shape().str();
      bytes += bytes_of(top->data());
    }
    total += bytes;
    rows.push_back({concat(head.layer->name(), " (", head.layer->type(), ")"),
                    step.backward ? "forward, backward" : "forward", step.implementation->name(),
                    step.implementation->details(), tops, std::to_string(bytes), fused});
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (size_t i = 0; i < rows[r].size(); ++i)
      line += rows[r][i] + std::string(widths[i] - rows[r][i].size() + 2, ' ');
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    if (r == 0) continue;
    for (const std::string& reason : steps_[r - 1].refused) text += "    refused " + reason + "\n";
  }
  return text + concat("data of all tops: ", total, " bytes\n");
}

}  // namespace caffe

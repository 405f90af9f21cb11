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

// Of the layout that the plan wants; memory is taken only when the net runs.
size_t bytes_of(const Buffer& buffer) {
  const LayoutPtr& layout = buffer.layout(buffer.preferred());
  return layout ? layout->bytes() : static_cast<size_t>(buffer.count()) * size_of(buffer.dtype());
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
    for (const Blob* top : head.top) {
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

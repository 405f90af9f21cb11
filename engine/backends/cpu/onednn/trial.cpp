#include "backends/cpu/onednn/trial.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_debug.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <mutex>
#include <utility>
#include <vector>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "backends/cpu/onednn/trial_cache.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"

namespace caffe::onednn {
namespace {

using PrimitiveDesc = dnnl::primitive_desc_base;

constexpr int kLeastRuns = 3, kMostRuns = 30;
constexpr double kMilliseconds = 40;  // of runs of one kernel beyond the least
constexpr double kHopeless = 1.5;     // so many times the best time: not run again

// Guards the cache, and lets trials wait for each other, which would slow each other down.
std::mutex mutex;
std::atomic<int64_t> trials{0};

struct Argument {
  int id;
  const char* name;
};

std::vector<Argument> arguments_of(const PrimitiveDesc& description) {
  std::vector<Argument> all = {{DNNL_ARG_SRC, "src"},
                               {DNNL_ARG_WEIGHTS, "weights"},
                               {DNNL_ARG_BIAS, "bias"},
                               {DNNL_ARG_DST, "dst"},
                               {DNNL_ARG_DIFF_SRC, "diff_src"},
                               {DNNL_ARG_DIFF_WEIGHTS, "diff_weights"},
                               {DNNL_ARG_DIFF_BIAS, "diff_bias"},
                               {DNNL_ARG_DIFF_DST, "diff_dst"}};
  const dnnl::post_ops after = description.get_primitive_attr().get_post_ops();
  for (int i = 0; i < after.len(); ++i) {
    // Of others oneDNN gives no valid format.
    if (after.kind(i) == dnnl::primitive::kind::binary)
      all.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1, "operand"});
  }
  return all;
}

Desc desc_of(const PrimitiveDesc& description, int argument) {
  return description.query_md(dnnl::query::exec_arg_md, argument);
}

bool same_formats(const PrimitiveDesc& one, const PrimitiveDesc& other) {
  const std::vector<Argument> arguments = arguments_of(one);
  return std::all_of(arguments.begin(), arguments.end(), [&](const Argument& argument) {
    return desc_of(one, argument.id) == desc_of(other, argument.id);
  });
}

std::string joined(const Dims& dims) {
  std::string text;
  for (const int64_t n : dims) text += concat(text.empty() ? "" : "x", n);
  return text;
}

std::string after_text(const PrimitiveDesc& description) {
  const dnnl::post_ops after = description.get_primitive_attr().get_post_ops();
  std::string text;
  for (int i = 0; i < after.len(); ++i) {
    if (after.kind(i) == dnnl::primitive::kind::sum) {
      text += " +sum";
      continue;
    }
    auto algorithm = dnnl::algorithm::undef;
    float alpha = 0, beta = 0;
    Desc operand;
    if (after.kind(i) == dnnl::primitive::kind::eltwise) {
      after.get_params_eltwise(i, algorithm, alpha, beta);
    } else if (after.kind(i) == dnnl::primitive::kind::binary) {
      after.get_params_binary(i, algorithm, operand);
    }
    text += concat(" +", dnnl_alg_kind2str(dnnl::convert_to_c(algorithm)));
  }
  return text;
}

// The operation, in one line: what decides how fast its kernels are.
std::string text_of(const PrimitiveDesc& description) {
  dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
  check(dnnl_primitive_desc_query(description.get(), dnnl_query_primitive_kind, 0, &kind),
        "a description's kind");
  std::string text = concat(dnnl_prim_kind2str(kind), ' ',
                            dnnl_prop_kind2str(dnnl::convert_to_c(description.get_prop_kind())));
  for (const auto& [id, name] : arguments_of(description)) {
    const Desc desc = desc_of(description, id);
    if (!desc.is_zero())
      text += concat(", ", name, ' ', joined(desc.get_dims()), ' ', format_name(desc));
  }
  const auto add = [&](const char* name, const Dims& dims) {
    if (!dims.empty()) text += concat(", ", name, ' ', joined(dims));
  };
  add("stride", description.get_strides());
  add("dilation", description.get_dilations());
  add("pad", description.get_padding_l());
  add("to", description.get_padding_r());
  return concat(text, after_text(description), ", threads ", omp_get_max_threads());
}

PrimitiveDesc clone(const PrimitiveDesc& description) {
  dnnl_primitive_desc_t copy = nullptr;
  check(dnnl_primitive_desc_clone(&copy, description.get()), "the copy of a description");
  return PrimitiveDesc(copy);
}

// `first`, then others of different names. oneDNN's reference code never competes.
std::vector<PrimitiveDesc> candidates_of(const PrimitiveDesc& first,
                                         const std::function<PrimitiveDesc()>& again) {
  std::vector<PrimitiveDesc> all = {first};
  const auto known = [&](const PrimitiveDesc& next) {
    return std::any_of(all.begin(), all.end(), [&](const PrimitiveDesc& one) {
      return std::strcmp(one.impl_info_str(), next.impl_info_str()) == 0;
    });
  };
  try {
    const PrimitiveDesc next = again();
    do {
      if (!is_reference(next) && !known(next) && same_formats(first, next))
        all.push_back(clone(next));
    } while (dnnl_primitive_desc_next_impl(next.get()) == dnnl_success);
  } catch (const dnnl::error&) {
  }
  return all;
}

// Small numbers: what is computed from them is not denormal and does not overflow. (Sums that are
// added to what is there grow from run to run, which costs no time.)
void fill(const dnnl::memory& memory) {
  const Desc desc = memory.get_desc();
  with_number(desc, [&](auto number) {
    std::fill_n(static_cast<decltype(number)*>(memory.get_data_handle()), elements(desc), 1.f / 64);
  });
}

dnnl::memory memory_for(const Desc& desc) {
  require_memory(static_cast<int64_t>(desc.get_size()), "what is tried");
  return dnnl::memory(desc, cpu_engine());
}

// Memory that the candidates share.
using Operands = std::vector<std::pair<int, dnnl::memory>>;

Operands operands_of(const PrimitiveDesc& description) {
  Operands all;
  for (const Argument& argument : arguments_of(description)) {
    const Desc desc = desc_of(description, argument.id);
    if (desc.is_zero()) continue;
    all.emplace_back(argument.id, memory_for(desc));
    fill(all.back().second);
  }
  return all;
}

class Candidate {
 public:
  Candidate(const PrimitiveDesc& description, const Operands& operands)
      : name_(description.impl_info_str()), scratchpad_(memory_for(description.scratchpad_desc())) {
    dnnl_primitive_t primitive = nullptr;
    check(dnnl_primitive_create(&primitive, description.get()), "a kernel to be tried");
    primitive_.reset(primitive);
    for (const auto& [id, memory] : operands) arguments_.push_back({id, memory.get()});
    arguments_.push_back({DNNL_ARG_SCRATCHPAD, scratchpad_.get()});
    run();  // touches the memory
  }

  const std::string& name() const { return name_; }
  double best() const { return best_; }  // milliseconds

  double run() {
    const auto start = Clock::now();
    check(dnnl_primitive_execute(primitive_.get(), thread_stream(),
                                 static_cast<int>(arguments_.size()), arguments_.data()),
          "a kernel that is tried");
    return 1e3 * seconds_since(start);
  }

  double measure() {
    const double time = run();
    best_ = best_ < 0 ? time : std::min(best_, time);
    return time;
  }

 private:
  std::string name_;
  dnnl::memory scratchpad_;
  dnnl::primitive primitive_;
  std::vector<dnnl_exec_arg_t> arguments_;
  double best_ = -1;
};

double best_time(const std::vector<Candidate>& candidates) {
  const auto best =
      std::min_element(candidates.begin(), candidates.end(),
                       [](const Candidate& a, const Candidate& b) { return a.best() < b.best(); });
  return best->best();
}

// In turn, so that what else the machine does slows down all of them. Returns the winner's name.
std::string race(const std::vector<PrimitiveDesc>& descriptions, const std::string& operation) {
  const Operands operands = operands_of(descriptions[0]);
  std::vector<Candidate> candidates;
  candidates.reserve(descriptions.size());
  for (const PrimitiveDesc& description : descriptions)
    candidates.emplace_back(description, operands);
  double spent = 0;
  const double budget = kMilliseconds * static_cast<double>(candidates.size());
  for (int i = 0; i < kMostRuns && (i < kLeastRuns || spent < budget); ++i) {
    const double limit = i == 0 ? 0 : kHopeless * best_time(candidates);
    for (Candidate& candidate : candidates) {
      if (i == 0 || candidate.best() <= limit) spent += candidate.measure();
    }
  }
  ++trials;
  std::vector<double> times;
  std::string text;
  for (const Candidate& candidate : candidates) {
    times.push_back(candidate.best());
    text += concat(text.empty() ? "" : ", ", candidate.name(), ' ', std::fixed,
                   std::setprecision(3), candidate.best(), " ms");
  }
  const std::string& chosen = candidates[winner(times)].name();
  CAFFE_LOG_INFO("trial of ", operation, ": ", text, "; chosen: ", chosen);
  return chosen;
}

}  // namespace

bool trials_wanted() {
  const char* wanted = std::getenv("CAFFE_TRIAL");
  return wanted != nullptr && *wanted != '\0' && std::strcmp(wanted, "0") != 0;
}

PrimitiveDesc fastest_of(const PrimitiveDesc& first, const std::function<PrimitiveDesc()>& again) {
  const std::vector<PrimitiveDesc> candidates = candidates_of(first, again);
  if (candidates.size() == 1) return first;
  const std::string operation = text_of(first);
  const auto named = [&](const std::string& name) {
    return std::find_if(candidates.begin(), candidates.end(),
                        [&](const PrimitiveDesc& one) { return one.impl_info_str() == name; });
  };
  const std::lock_guard<std::mutex> lock(mutex);
  auto chosen = named(trial_cache().find(operation));
  if (chosen != candidates.end()) return *chosen;
  try {
    const std::string winner = race(candidates, operation);
    trial_cache().add(operation, winner);
    return *named(winner);
  } catch (const std::exception& error) {
    CAFFE_LOG_WARNING("no trial of ", operation, ": ", error.what());
    return first;
  }
}

std::string trial_note(const PrimitiveDesc& description) {
  if (!trials_wanted()) return "";
  const std::string operation = text_of(description);
  const std::lock_guard<std::mutex> lock(mutex);
  return trial_cache().find(operation).empty() ? "" : " by trial";
}

std::string gradient_note(const char* of, const PrimitiveDesc& description) {
  const std::string note = trial_note(description);
  return note.empty() ? "" : concat(", gradient of ", of, ' ', description.impl_info_str(), note);
}

size_t winner(const std::vector<double>& times) {
  const auto best = std::min_element(times.begin(), times.end());
  return *best <= 0.95 * times[0] ? static_cast<size_t>(best - times.begin()) : 0;
}

int64_t trials_made() { return trials; }

}  // namespace caffe::onednn

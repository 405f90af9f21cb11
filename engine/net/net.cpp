#include "net/net.h"

#include <algorithm>
#include <set>

#include "backends/cpu/precision.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"
#include "net/debug_info.h"
#include "net/graph.h"
#include "net/net_builder.h"

namespace caffe {
namespace {

template <typename T>
void fill_diff(const Blob& blob, float value) {
  std::fill_n(blob.overwrite_diff<T>(), blob.count(), static_cast<T>(value));
}

template <typename T>
double total(const Blob& blob) {
  const T* data = blob.data_as<T>();
  double sum = 0;
  for (int64_t i = 0; i < blob.count(); ++i) sum += static_cast<double>(data[i]);
  return sum;
}

// While the net's last pass forward is run again in parts.
class Repeating {
 public:
  explicit Repeating(RunContext* context) : context_(*context) {
    --context_.pass;
    context_.repeating = true;
  }
  ~Repeating() {
    ++context_.pass;
    context_.repeating = false;
  }
  Repeating(const Repeating&) = delete;
  Repeating& operator=(const Repeating&) = delete;

 private:
  RunContext& context_;
};

}  // namespace

Net::Net(const NetParameter& param, const NetOptions& options)
    : portable_only_(options.portable_only) {
  forward_only_ = options.forward_only;
  context_.phase = options.phase;
  context_.dtype = options.dtype;
  context_.precision = options.precision;
  CAFFE_REQUIRE(
      supports(options.precision),
      "this processor does not compute in bf16 (AVX-512 is needed): leave precision out, ",
      "or take a machine that does");
  CAFFE_REQUIRE(options.precision == Precision::kF32 || options.dtype == DType::kF32,
                "precision bf16 is for nets of float32, not of double precision");
  context_.seed = options.seed;
  context_.rank = options.rank;
  context_.world = options.world;
  context_.data = options.data;
  memory_limit_ = options.memory_limit;
  param_ = param;
  NetState* state = param_.mutable_state();
  state->set_phase(options.phase);
  if (options.level) state->set_level(*options.level);
  for (const std::string& stage : options.stages) state->add_stage(stage);
  param_ = insert_splits(filter_layers(param_));
  name_ = param_.name();
  debug_info_ = param_.debug_info();
  CAFFE_REQUIRE(param_.layer_size() > 0, "net ", name_, " has no layers in phase ",
                Phase_Name(options.phase), "; check its include and exclude rules");
  NetBuilder(this, !options.observed).build();
  set_observed(options);
  collect_buffers();
  build_plan();
  CAFFE_LOG_INFO("Network initialization done.");
}

Net::~Net() = default;

void Net::set_observed(const NetOptions& options) {
  observed_.assign(blobs_.size(), !options.observed.has_value());
  const auto moves = [](const auto& layer) { return layer->shapes_tops_by_value(); };
  const bool shares = options.observed && std::none_of(layers_.begin(), layers_.end(), moves);
  CAFFE_REQUIRE(
      shares || options.memory_limit == 0, "net ", name_,
      " cannot keep to a limit of memory, because it keeps all blobs: they are observed, ",
      "or have shapes that depend on values");
  if (!options.observed) return;
  if (shares) arena_ = options.arena ? options.arena : std::make_shared<Arena>();
  for (const std::string& name : *options.observed) {
    const int id = find_blob(name);
    CAFFE_REQUIRE(id >= 0, "cannot observe blob ", name, ": net ", name_,
                  " has no such blob (it has ", blob_list(), ")");
    observed_[static_cast<size_t>(id)] = true;
  }
  for (const int id : input_blobs_) observed_[static_cast<size_t>(id)] = true;
  for (const int id : output_blobs_) observed_[static_cast<size_t>(id)] = true;
}

std::string Net::blob_list() const {
  std::string list;
  for (const std::string& name : blob_names_) list += (list.empty() ? "" : ", ") + name;
  return list;
}

int Net::find_layer(const std::string& name, size_t namesakes) const {
  const auto it = layer_index_.find(name);
  return it == layer_index_.end() || namesakes >= it->second.size() ? -1 : it->second[namesakes];
}

int Net::find_blob(const std::string& name) const {
  const auto it = blob_index_.find(name);
  return it == blob_index_.end() ? -1 : it->second;
}

Blob& Net::blob(const std::string& name) const {
  const int id = find_blob(name);
  CAFFE_REQUIRE(id >= 0, "net ", name_, " has no blob ", name, "; it has ", blob_list());
  CAFFE_REQUIRE(
      observed(id), "blob ", name, " of net ", name_,
      " is not observed, so its content is not kept; name it in `observed` when the net is made");
  return *blobs_[static_cast<size_t>(id)];
}

void Net::collect_buffers() {
  std::set<Buffer*> seen;
  buffers_.clear();
  const auto add = [&](const Blob& blob) {
    for (Buffer* buffer : {&blob.data(), &blob.diff()}) {
      if (seen.insert(buffer).second) buffers_.push_back(buffer);
    }
  };
  for (const auto& blob : blobs_) add(*blob);
  for (const auto& layer : layers_) {
    for (const auto& blob : layer->blobs()) add(*blob);
  }
}

void Net::build_plan() {
  memory_.reset();
  plan_.reset();
  unfused_plan_.reset();
  // Parameters keep theirs: other nets, which share them, planned with these layouts.
  for (const auto& blob : blobs_) {
    blob->data().forget_layouts();
    blob->diff().forget_layouts();
  }
  for (size_t i = 0; i < blobs_.size(); ++i) {
    if (loss_weights_[i] == 0) continue;
    if (context_.dtype == DType::kF32) {
      fill_diff<float>(*blobs_[i], loss_weights_[i]);
    } else {
      fill_diff<double>(*blobs_[i], loss_weights_[i]);
    }
  }
  plan_ = std::make_unique<Plan>(operations(), PlanOptions{true, portable_only_});
  plan_memory();
  ran_fused_.assign(layers_.size(), true);
  ++plan_generation_;
  sources_.clear();
  for (int i = 0; i < layer_count(); ++i) {
    if (!bottom_ids(i).empty()) continue;
    Source source{i, blobs_at(blobs_, top_ids(i)), {}};
    for (const Blob* blob : source.top) source.planned.push_back(blob->shape());
    sources_.push_back(std::move(source));
  }
}

// What does not give its memory up during a pass.
std::set<const Buffer*> Net::kept_buffers() const {
  std::set<const Buffer*> kept = observed_buffers();
  const auto keep = [&](const Blob& blob) { kept.insert({&blob.data(), &blob.diff()}); };
  for (int i = 0; i < layer_count(); ++i) {
    for (const auto& blob : layers_[static_cast<size_t>(i)]->blobs()) keep(*blob);
    if (!bottom_ids(i).empty()) continue;  // data is there before the pass
    for (const Blob* blob : blobs_at(blobs_, top_ids(i))) keep(*blob);
  }
  return kept;
}

void Net::plan_memory() {
  if (!arena_) return;
  const std::set<const Buffer*> kept = kept_buffers();
  memory_ = std::make_unique<MemoryPlan>(plan_->steps(), kept, !forward_only_, arena_);
  unlimited_bytes_ = memory_->bytes();
  if (memory_limit_ > 0 && !forward_only_ && unlimited_bytes_ > memory_limit_) limit_memory(kept);
}

// The fewest segments that suffice: the fewer there are, the less runs twice.
void Net::limit_memory(const std::set<const Buffer*>& kept) {
  constexpr size_t kMostSegments = 64;
  const Segments segments(plan_->steps(), kept, repeatable_steps());
  for (size_t count = 2; count <= std::min(segments.most(), kMostSegments); ++count) {
    auto plan =
        std::make_unique<MemoryPlan>(plan_->steps(), kept, true, arena_, segments.repeats(count));
    if (plan->bytes() < memory_->bytes()) memory_ = std::move(plan);
    if (memory_->bytes() <= memory_limit_) return;
  }
  CAFFE_REQUIRE(
      false, "net ", name_, " needs at least ", memory_->bytes(),
      " bytes for its blobs, also when parts of it run forward again on the way back; the ",
      "limit is ", memory_limit_, ": raise it, or reduce batch_size");
}

std::vector<bool> Net::repeatable_steps() const {
  std::vector<bool> repeatable;
  for (const Plan::Step& step : plan_->steps()) {
    bool all = true;
    for (int i = step.first; i <= step.last; ++i) {
      const Layer& layer = *layers_[static_cast<size_t>(i)];
      all &= !bottom_ids(i).empty() && layer.repeatable();
    }
    repeatable.push_back(all);
  }
  return repeatable;
}

// For passes that the plan of memory was not made for.
void Net::keep_all() {
  if (memory_) memory_->settle();
  memory_.reset();
  arena_.reset();
}

// What somebody may look at beside the layers. Blobs may share memory.
std::set<const Buffer*> Net::observed_buffers() const {
  std::set<const Buffer*> observed;
  for (size_t i = 0; i < blobs_.size(); ++i) {
    if (!observed_[i] && loss_weights_[i] == 0) continue;
    observed.insert({&blobs_[i]->data(), &blobs_[i]->diff()});
  }
  return observed;
}

std::vector<Operation> Net::operations() const {
  const std::set<const Buffer*> observed = observed_buffers();
  std::vector<Operation> operations;
  for (int i = 0; i < layer_count(); ++i) {
    Operation operation;
    operation.layer = layers_[static_cast<size_t>(i)].get();
    operation.bottom = blobs_at(blobs_, bottom_ids(i));
    operation.top = blobs_at(blobs_, top_ids(i));
    for (const Blob* top : operation.top) {
      operation.observed.push_back(observed.count(&top->data()) + observed.count(&top->diff()) > 0);
    }
    operation.propagate_down = propagate_down_[static_cast<size_t>(i)];
    for (size_t j = 0; j < operation.bottom.size(); ++j) {
      if (observed_[static_cast<size_t>(bottom_ids(i)[j])] &&
          operation.layer->always_propagates(static_cast<int>(j)))
        operation.propagate_down[j] = true;
    }
    operation.backward = needs_backward(i) && !forward_only_;
    if (!operation.backward) operation.propagate_down.assign(operation.bottom.size(), false);
    operations.push_back(std::move(operation));
  }
  return operations;
}

void Net::reshape() { reshape_from(0); }

void Net::reshape_from(int first) {
  memory_.reset();  // it knows buffers by the layouts that they had
  for (int i = first; i < layer_count(); ++i) {
    Layer& layer = *layers_[static_cast<size_t>(i)];
    with_label(layer, [&] {
      const Blobs top = blobs_at(blobs_, top_ids(i));
      layer.reshape(blobs_at(blobs_, bottom_ids(i)), top);
      for (size_t j = 0; j < top.size(); ++j) require_countable(top[j]->shape(), concat("top ", j));
    });
  }
  collect_buffers();
  build_plan();
}

const Plan& Net::plan_for(int first, int last) {
  if (!runs_layer_by_layer() && plan_->covers(first, last)) return *plan_;
  return unfused_plan();
}

const Plan& Net::unfused_plan() {
  if (!unfused_plan_) {
    unfused_plan_ = std::make_unique<Plan>(operations(), PlanOptions{false, portable_only_});
  }
  return *unfused_plan_;
}

// Fused layers go back as they came: together, or one by one. Layers first..last downwards.
const Plan& Net::plan_for_backward(int first, int last) {
  bool fused = &plan_for(last, first) == plan_.get();
  const auto cut = [&](const Plan::Step& s) {
    return s.backward && s.last > s.first && s.last >= last && s.first <= first;
  };
  for (const Plan::Step& step : plan_->steps()) {
    if (cut(step)) fused &= ran_fused_[static_cast<size_t>(step.first)];
  }
  if (fused) return *plan_;
  unfused_plan();
  for (const Plan::Step& step : plan_->steps()) {
    if (cut(step) && ran_fused_[static_cast<size_t>(step.first)]) run_one_by_one(step);
  }
  return *unfused_plan_;
}

// Runs a group that ran forward as one once more, so that the layers keep what they need to go back
// one by one. Parameters that forward changes (running averages) stay as they are.
void Net::run_one_by_one(const Plan::Step& group) {
  if (!group.implementation->rewind() && !group.skips) return;
  std::vector<std::pair<Blob*, std::vector<float>>> parameters;
  for (int i = group.first; i <= group.last; ++i) {
    for (const auto& blob : layers_[static_cast<size_t>(i)]->blobs()) {
      const float* values = blob->data_as<float>();
      parameters.emplace_back(blob.get(), std::vector<float>(values, values + blob->count()));
    }
  }
  for (const Plan::Step& step : unfused_plan_->steps()) {
    if (step.first < group.first || step.last > group.last) continue;
    with_label(*layers_[static_cast<size_t>(step.first)], [&] { step.implementation->forward(); });
    ran_fused_[static_cast<size_t>(step.first)] = false;
  }
  for (const auto& [blob, values] : parameters) {
    std::copy(values.begin(), values.end(), blob->overwrite_data<float>());
  }
}

void Net::run_prepare(int first, int last) {
  const auto start = Clock::now();
  bool reshaped = false;
  for (Source& source : sources_) {
    if (source.layer < first || source.layer > last) continue;
    Layer& layer = *layers_[static_cast<size_t>(source.layer)];
    with_label(layer, [&] { layer.prepare(source.top); });
    for (size_t j = 0; j < source.top.size(); ++j)
      reshaped |= source.top[j]->shape() != source.planned[j];
  }
  data_seconds_ += seconds_since(start);
  if (reshaped) reshape();
}

double Net::forward(int first, int last) {
  if (last < 0) last = layer_count() - 1;
  CAFFE_REQUIRE(first >= 0 && first <= last && last < layer_count(), "net ", name_,
                " has layers 0 to ", layer_count() - 1, "; it cannot run ", first, " to ", last);
  run_prepare(first, last);
  if (first != 0 || last != layer_count() - 1 || runs_layer_by_layer()) keep_all();
  if (memory_) memory_->start();
  for (Buffer* buffer : buffers_) buffer->begin_pass();
  double loss = 0;
  for (int next = first; next <= last;) next = forward_steps(next, last, &loss);
  for (Buffer* buffer : buffers_) buffer->end_pass();
  if (first == 0) ++context_.pass;
  return loss;
}

// Runs layers first..last, or up to one whose values changed the shapes that the plan was made for;
// what comes after it is then planned anew. Returns the next layer to run.
int Net::forward_steps(int first, int last, double* loss) {
  const Plan& plan = plan_for(first, last);
  for (size_t k = 0; k < plan.steps().size(); ++k) {
    const Plan::Step& step = plan.steps()[k];
    if (step.first < first || step.last > last) continue;
    const auto start = profile_ ? Clock::now() : Clock::time_point();
    const int next = step.last + 1;
    call_back(Moment::kBeforeForward, step.first);
    if (memory_) memory_->before(k, false);
    const bool reshaped = reshaped_tops(step.first, [&] { step.implementation->forward(); });
    if (memory_) memory_->after(k, false);
    if (profile_) (*profile_)[static_cast<size_t>(step.first)].forward += seconds_since(start);
    for (int i = step.first; i < next; ++i) {
      *loss += layer_loss(i);
      ran_fused_[static_cast<size_t>(i)] = &plan == plan_.get();
    }
    if (debug_info_) log_forward(*this, step.first);
    call_back(Moment::kAfterForward, step.first);
    if (reshaped) {
      reshape_from(next);
      return next;
    }
  }
  return last + 1;
}

// Runs a layer, and says whether that changed the shape of a top.
bool Net::reshaped_tops(int index, const std::function<void()>& run) {
  const Layer& layer = *layers_[static_cast<size_t>(index)];
  if (!layer.shapes_tops_by_value()) {
    with_label(layer, run);
    return false;
  }
  const Blobs top = blobs_at(blobs_, top_ids(index));
  std::vector<Shape> before;
  for (const Blob* blob : top) before.push_back(blob->shape());
  with_label(layer, run);
  for (size_t j = 0; j < top.size(); ++j) {
    if (top[j]->shape() != before[j]) return true;
  }
  return false;
}

// A blob with a weight is the loss of the last layer that writes it; others may do so in place.
double Net::layer_loss(int layer) const {
  double loss = 0;
  const auto is_written_later = [&](int top) {
    return std::any_of(top_ids_.begin() + layer + 1, top_ids_.end(), [&](const auto& tops) {
      return std::find(tops.begin(), tops.end(), top) != tops.end();
    });
  };
  for (const int top : top_ids(layer)) {
    const float weight = loss_weight(top);
    if (weight == 0 || is_written_later(top)) continue;
    const Blob& blob = *blobs_[static_cast<size_t>(top)];
    loss += weight * (context_.dtype == DType::kF32 ? total<float>(blob) : total<double>(blob));
  }
  return loss;
}

void Net::backward(int first, int last) {
  if (first < 0) first = layer_count() - 1;
  CAFFE_REQUIRE(last >= 0 && last <= first && first < layer_count(), "net ", name_, " has layers ",
                layer_count() - 1, " to 0; it cannot run ", first, " down to ", last);
  CAFFE_REQUIRE(!forward_only_, "net ", name_, " was made to run forward only");
  if (last != 0 || first != layer_count() - 1 || runs_layer_by_layer()) keep_all();
  CAFFE_REQUIRE(!memory_ || memory_->holds(), "net ", name_,
                " has nothing to go back from: a pass backward follows a pass forward, once, ",
                "because what is not observed is given up");
  for (Buffer* buffer : buffers_) buffer->begin_pass();
  const Plan& plan = plan_for_backward(first, last);
  for (size_t k = plan.steps().size(); k-- > 0;) {
    const Plan::Step& step = plan.steps()[k];
    if (step.first < last || step.last > first) continue;
    call_back(Moment::kBeforeBackward, step.first);
    if (memory_) run_again(k);
    if (step.backward) {
      if (memory_) memory_->before(k, true);
      backward_step(step);
      if (memory_) memory_->after(k, true);
    }
    call_back(Moment::kAfterBackward, step.first);
    if (backward_progress_) backward_progress_(step.first);
  }
  if (memory_) memory_->finish();
  if (debug_info_ && last == 0 && first == layer_count() - 1) log_norms(*this);
  for (Buffer* buffer : buffers_) buffer->end_pass();
}

// What was not kept for step `index` to go back, as it was in this pass forward.
void Net::run_again(size_t index) {
  const std::vector<size_t>& again = memory_->repeats(index);
  if (again.empty()) return;
  const Repeating repeating(&context_);
  for (size_t i = 0; i < again.size(); ++i) {
    const Plan::Step& step = plan_->steps()[again[i]];
    const auto start = profile_ ? Clock::now() : Clock::time_point();
    memory_->before_again(index, i);
    with_label(*layers_[static_cast<size_t>(step.first)], [&] { step.implementation->forward(); });
    memory_->after_again(index, i);
    if (profile_) (*profile_)[static_cast<size_t>(step.first)].backward += seconds_since(start);
  }
}

void Net::backward_step(const Plan::Step& step) {
  Layer& layer = *layers_[static_cast<size_t>(step.first)];
  const auto start = profile_ ? Clock::now() : Clock::time_point();
  with_label(layer, [&] {
    CAFFE_REQUIRE(
        layer.has_backward() || !wants_gradient(step.first),
        "has no gradient; set propagate_down: ", "false, or take it out of the way of the loss");
    step.implementation->backward();
  });
  if (profile_) (*profile_)[static_cast<size_t>(step.first)].backward += seconds_since(start);
  if (debug_info_) log_backward(*this, step.first);
}

// What a callback sees and writes through views must be what the next layer reads.
void Net::call_back(Moment moment, int layer) {
  const auto& callbacks = callbacks_[static_cast<size_t>(moment)];
  if (callbacks.empty()) return;
  for (Buffer* buffer : buffers_) buffer->end_pass();
  for (const auto& callback : callbacks) callback(layer);
  for (Buffer* buffer : buffers_) buffer->begin_pass();
}

bool Net::wants_gradient(int layer) const {
  const std::vector<bool>& down = propagate_down_[static_cast<size_t>(layer)];
  return std::find(down.begin(), down.end(), true) != down.end();
}

void Net::clear_parameter_diffs() {
  for (const Parameter& parameter : parameters_) parameter.blob->diff().set_zero();
}

void Net::cancel() {
  for (const auto& layer : layers_) layer->cancel();
}

size_t Net::parameter_bytes() const {
  size_t bytes = 0;
  for (const Parameter& parameter : parameters_) {
    const Buffer& data = parameter.blob->data();
    bytes += data.bytes(data.master());
    for (int i = 1; i < data.representations(); ++i) {
      if (!data.layout(i)->exact()) bytes += data.bytes(i);  // what is computed with beside it
    }
  }
  return bytes;
}

std::string Net::plan_text() const {
  std::string text = plan_->text() + concat("parameters: ", parameter_bytes(), " bytes\n");
  if (memory_) {
    text += concat("memory shared by the steps: ", memory_->bytes(), " bytes in place of ",
                   memory_->bytes_apart(), "; at once needed: ", memory_->bytes_at_once(), "\n");
    if (memory_->repeated() > 0) {
      text += concat("to stay below ", memory_limit_, " bytes, ", memory_->repeated(), " of ",
                     plan_->steps().size(), " steps run forward again on the way back; that saves ",
                     unlimited_bytes_ - memory_->bytes(), " bytes\n");
    }
  }
  return text;
}

}  // namespace caffe

#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "layers/layer.h"
#include "net/plan/memory.h"
#include "net/plan/plan.h"

namespace caffe {

struct NetOptions {
  Phase phase = TEST;
  std::optional<int> level;  // not given: the prototxt's own
  std::vector<std::string> stages;
  // The blobs that will be read, beside inputs, outputs and parameters. Not given: all of them.
  std::optional<std::vector<std::string>> observed;
  DType dtype = DType::kF32;
  Precision precision = Precision::kF32;  // kBF16 needs float32 and a processor that has it
  uint64_t seed = 1;                      // of everything random
  int rank = 0;
  int world = 1;
  DataOptions data;
  bool forward_only = false;   // backward will never be called: inference
  bool portable_only = false;  // for tests: no vendor implementations
  // Memory for what is not observed; may be that of a net that never runs at the same time. Null:
  // the net's own.
  std::shared_ptr<Arena> arena;
  // Bytes that blobs and what layers keep for backward may take together, with `observed`, in a net
  // that goes backward; 0: as many as it needs. Where they need more, parts of the net run forward
  // again on the way back; where even that does not suffice, the net is refused.
  size_t memory_limit = 0;
};

// A directed acyclic graph of layers, built from a NetParameter that has been upgraded to the
// newest form (io/prototxt.h does that). Construction filters the layers by phase, level and
// stages, inserts Split layers, shapes all blobs, decides which layers run backward, and makes the
// plan.
//
// A net that was told what is observed gives up everything else as soon as it has been used
// (net/plan/memory.h), so after a whole pass forward there can be one whole pass backward. From the
// first pass over a part of the layers on, or with callbacks, it keeps all.
//
// One thread at a time. Errors are caffe::Error, with the layer named; a net that threw in forward
// or backward can be run again.
class Net {
 public:
  Net(const NetParameter& param, const NetOptions& options);
  ~Net();
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  // ---- structure: layers and blobs in order of execution ----
  const std::string& name() const { return name_; }
  Phase phase() const { return context_.phase; }
  const std::vector<std::unique_ptr<Layer>>& layers() const { return layers_; }
  int layer_count() const { return static_cast<int>(layers_.size()); }
  // Index of the layer or blob with this name; -1 if there is none. Of several layers of one name:
  // the first, or the one after `namesakes` others.
  int find_layer(const std::string& name, size_t namesakes = 0) const;
  int find_blob(const std::string& name) const;
  const std::vector<std::shared_ptr<Blob>>& blobs() const { return blobs_; }
  const std::vector<std::string>& blob_names() const { return blob_names_; }
  // Blob by name; an error that lists the blobs if there is none, or says so if it is not observed.
  Blob& blob(const std::string& name) const;
  bool observed(int blob) const { return observed_[static_cast<size_t>(blob)]; }
  const std::vector<int>& bottom_ids(int layer) const {
    return bottom_ids_[static_cast<size_t>(layer)];
  }
  const std::vector<int>& top_ids(int layer) const { return top_ids_[static_cast<size_t>(layer)]; }
  const std::vector<int>& input_blobs() const { return input_blobs_; }    // tops of Input layers
  const std::vector<int>& output_blobs() const { return output_blobs_; }  // read by no layer
  float loss_weight(int blob) const { return loss_weights_[static_cast<size_t>(blob)]; }
  // Whether the layer hands a gradient down to its bottom number `bottom`.
  bool propagates_down(int layer, int bottom) const {
    return propagate_down_[static_cast<size_t>(layer)][static_cast<size_t>(bottom)];
  }
  bool needs_backward(int layer) const { return needs_backward_[static_cast<size_t>(layer)]; }

  // ---- parameters ----
  struct Parameter {
    std::shared_ptr<Blob> blob;
    int layer = 0;  // the owner's index and, in it, the blob's
    int index = 0;
    float lr_mult = 1;
    float decay_mult = 1;
    std::string name;  // "conv1/0", or what the prototxt calls it
  };
  // One entry per owner: what a solver updates, in the order of its history.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  // Gradients become zero.
  void clear_parameter_diffs();

  // ---- running ----
  // Layers first..last (inclusive; -1: the last one). Returns the sum of weighted losses among
  // them. Data layers fetch their next batch first; where its shape differs, the net is reshaped.
  double forward(int first = 0, int last = -1);
  // Layers first..last downwards (first -1: the last layer).
  void backward(int first = -1, int last = 0);
  // After inputs were reshaped by hand: shapes everything anew and plans again.
  void reshape();
  // Whether every layer logs the magnitude of its values and gradients (net/debug_info.h); runs the
  // layers one by one. At first as the prototxt says.
  void set_debug_info(bool on) { debug_info_ = on; }
  // Number of forward passes from now on; data layers and dropout count by it (RunContext::pass).
  void set_pass(int64_t pass) { context_.pass = pass; }
  const RunContext& context() const { return context_; }
  // `callback` is called with a layer's index before or after it runs, as Caffe's callbacks are. It
  // may look at and change blobs; what it throws ends the pass. A net with callbacks runs every
  // layer by itself, and therefore slower.
  enum class Moment { kBeforeForward, kAfterForward, kBeforeBackward, kAfterBackward };
  void add_callback(Moment moment, std::function<void(int layer)> callback) {
    callbacks_[static_cast<size_t>(moment)].push_back(std::move(callback));
    has_callbacks_ = true;
  }
  // Called in backward after each step of the plan, with the lowest layer of those that are done:
  // that layer and all above it have run, so the gradients of parameters that it or a higher layer
  // owns are complete. The net runs as fast as without; empty: nobody is called.
  void set_backward_progress(std::function<void(int layer)> callback) {
    backward_progress_ = std::move(callback);
  }
  // Whether somebody may look at the blobs between two layers.
  bool runs_layer_by_layer() const { return has_callbacks_ || debug_info_; }
  // Any thread: a forward that waits for data ends with kCancelled.
  void cancel();
  // Seconds spent waiting for data since construction.
  double data_seconds() const { return data_seconds_; }

  // ---- weights ----
  // By layer name, and by order where several layers have one. Layers the net does not have are
  // skipped, layers without a source keep their values; a different number of blobs or another
  // shape is an error.
  void copy_trained_from(const NetParameter& trained);
  // Comma-separated .caffemodel and .caffemodel.h5 files.
  void load_weights(const std::string& files);
  // Parameters of layers with the same name become the other net's.
  void share_trained_with(const Net& other);
  NetParameter to_proto(bool with_diffs = false) const;

  // ---- looking inside ----
  const Plan& plan() const { return *plan_; }
  std::string plan_text() const;  // what `caffe plan` prints
  int64_t plan_generation() const {
    return plan_generation_;
  }  // changes whenever the net is planned anew
  struct LayerTime {
    double forward = 0;  // seconds
    double backward = 0;
  };
  // While set, every layer's times are added here (by layer index; a fused layer's under the one
  // that took it along).
  void profile(std::vector<LayerTime>* times) { profile_ = times; }

 private:
  friend class NetBuilder;
  void set_observed(const NetOptions& options);
  std::string blob_list() const;
  void collect_buffers();
  std::vector<Operation> operations() const;
  void build_plan();
  void plan_memory();
  void limit_memory(const std::set<const Buffer*>& kept);
  std::vector<bool> repeatable_steps() const;
  void keep_all();
  size_t parameter_bytes() const;
  std::set<const Buffer*> observed_buffers() const;
  std::set<const Buffer*> kept_buffers() const;
  void run_again(size_t index);
  const Plan& plan_for(int first, int last);
  const Plan& unfused_plan();
  const Plan& plan_for_backward(int first, int last);
  void run_one_by_one(const Plan::Step& group);
  void run_prepare(int first, int last);
  int forward_steps(int first, int last, double* loss);
  void backward_step(const Plan::Step& step);
  bool reshaped_tops(int layer, const std::function<void()>& run);
  void reshape_from(int layer);
  void call_back(Moment moment, int layer);
  double layer_loss(int layer) const;
  bool wants_gradient(int layer) const;
  int find_target(const std::string& source, std::map<std::string, size_t>* seen) const;
  void copy_layer(const LayerParameter& source, int index);
  bool owns_parameter(int layer, int index) const;

  // A layer without bottoms, and the shapes for which the plan was made.
  struct Source {
    int layer;
    Blobs top;
    std::vector<Shape> planned;
  };

  std::string name_;
  RunContext context_;
  bool forward_only_ = false;
  bool portable_only_ = false;
  NetParameter param_;  // filtered, with splits
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::shared_ptr<Blob>> blobs_;
  std::vector<std::string> blob_names_;
  std::vector<bool> observed_;
  std::map<std::string, std::vector<int>> layer_index_;
  std::map<std::string, int> blob_index_;
  std::vector<std::vector<int>> bottom_ids_;
  std::vector<std::vector<int>> top_ids_;
  std::vector<std::vector<bool>> propagate_down_;
  std::vector<bool> needs_backward_;
  std::vector<float> loss_weights_;
  std::vector<int> input_blobs_;
  std::vector<int> output_blobs_;
  std::vector<Parameter> parameters_;
  std::vector<Buffer*> buffers_;  // every one once
  std::vector<Source> sources_;
  std::unique_ptr<Plan> plan_;
  int64_t plan_generation_ = 0;
  std::unique_ptr<Plan> unfused_plan_;  // for ranges that cut a fused group
  std::shared_ptr<Arena> arena_;        // null: everything is observed
  size_t memory_limit_ = 0;             // of the arena; 0: none
  size_t unlimited_bytes_ = 0;          // that the arena would have without a limit
  std::unique_ptr<MemoryPlan> memory_;  // null: everything is kept
  std::vector<bool> ran_fused_;         // by layer: whether plan_ ran it forward last
  std::array<std::vector<std::function<void(int)>>, 4> callbacks_;  // by Moment
  bool has_callbacks_ = false;
  std::function<void(int)> backward_progress_;
  bool debug_info_ = false;
  std::vector<LayerTime>* profile_ = nullptr;
  double data_seconds_ = 0;
};

}  // namespace caffe

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/blob.h"
#include "core/registry.h"
#include "layers/run_context.h"
#include "proto/caffe.pb.h"

namespace caffe {

// How many blobs a layer takes or gives.
struct Arity {
  int least = 0;
  int most = -1;  // -1: any number
  static Arity exactly(int n) { return {n, n}; }
  static Arity at_least(int n) { return {n, -1}; }
  static Arity between(int least, int most) { return {least, most}; }
};

// One layer type: its parameters, its shape rule, and its mathematics in portable code. A faster
// implementation of the same operation registers itself beside it (layers/operation.h); this class
// stays the reference.
//
// Write a layer by deriving from PortableLayer<Self>, with reshape() and the templates
// forward<T>(), backward<T>(), and end its file with CAFFE_REGISTER_LAYER. See CONTRIBUTING.md.
class Layer {
 public:
  Layer(const LayerParameter& param, const RunContext& context)
      : param_(param), context_(context) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const LayerParameter& param() const { return param_; }
  const std::string& name() const { return param_.name(); }
  const std::string& type() const { return param_.type(); }
  // The name under which the layer draws random numbers. Caffe allows several layers of one name,
  // which must not draw the same.
  std::string draw_name() const {
    return namesakes_ == 0 ? name() : name() + "#" + std::to_string(namesakes_);
  }
  // How many layers before it have its name. Set by the net before set_up.
  void set_namesakes(int count) { namesakes_ = count; }
  const RunContext& context() const { return context_; }
  // The net's, unless the prototxt gives the layer a phase of its own.
  Phase phase() const { return param_.has_phase() ? param_.phase() : context_.phase; }
  bool training() const { return phase() == TRAIN; }

  virtual Arity bottoms() const { return Arity::exactly(1); }
  virtual Arity tops() const { return Arity::exactly(1); }
  virtual bool equal_bottoms_and_tops() const { return false; }
  // Tops that are created, unnamed, where the prototxt names fewer (losses).
  virtual int automatic_tops() const { return 0; }
  // Weight of top `index` in the objective where the prototxt gives none.
  virtual float default_loss_weight(int index) const {
    (void)index;
    return 0;
  }
  // Whether force_backward may reach bottom `index` (labels: no).
  virtual bool allow_force_backward(int index) const {
    (void)index;
    return true;
  }
  // Whether backward gives bottom `index` a gradient even where nobody asked for one, as some
  // layers of Caffe do. It can be seen where blobs are observed, and only there is it computed.
  virtual bool always_propagates(int index) const {
    (void)index;
    return false;
  }
  // Whether the layer has a gradient at all; if not, being asked for one is an error.
  virtual bool has_backward() const { return true; }

  // Once: checks parameters against the bottoms and creates the parameter blobs (add_parameter).
  virtual void set_up(const Blobs& bottom, const Blobs& top) { (void)bottom, (void)top; }
  // Shapes the tops, and whatever depends on the bottoms' shapes. Called after set_up and whenever
  // a shape changed. May let a top share a bottom's buffers.
  virtual void reshape(const Blobs& bottom, const Blobs& top) = 0;
  // Whether the tops' shapes depend on the bottoms' values: forward may then reshape its tops, and
  // the net shapes and plans anew what comes after.
  virtual bool shapes_tops_by_value() const { return false; }
  // Whether forward, called again in the same pass (RunContext::repeating), computes the same and
  // changes nothing else. A net that is short of memory then does that instead of keeping the tops.
  virtual bool repeatable() const { return true; }
  // Data layers: fetches the next batch and shapes the tops for it, before the pass. Others:
  // nothing.
  virtual void prepare(const Blobs& top) { (void)top; }
  // Data layers: ends a prepare() that waits in another thread, now or in future, with
  // ErrorCode::kCancelled.
  virtual void cancel() {}
  // Layers that read records with keys (Data): those of the batch that prepare() fetched last, in
  // row order. Others: nothing.
  virtual std::optional<std::vector<std::string>> record_keys() const { return std::nullopt; }

  // Layers of a net whose DataOptions say `fed`: the next passes give the rows of a file
  // (data/row_file.h), from the first to the last; returns their number. Others: an error.
  virtual int64_t read_rows(const std::string& path) {
    (void)path;
    fail(ErrorCode::kInvalidArgument, label(), " does not read rows");
  }

  // The portable code. Forward overwrites the tops' data. Backward reads the tops' diffs,
  // overwrites the diffs of the bottoms whose propagate_down is set, and adds to the diffs of the
  // parameters that are learned.
  virtual void run_forward(const Blobs& bottom, const Blobs& top) = 0;
  virtual void run_backward(const Blobs& top, const std::vector<bool>& propagate_down,
                            const Blobs& bottom) = 0;

  // Learned and kept values, in the order of the .caffemodel. Layers that share a parameter hold
  // the same blob's buffers.
  std::vector<std::shared_ptr<Blob>>& blobs() { return blobs_; }
  const std::vector<std::shared_ptr<Blob>>& blobs() const { return blobs_; }

  // Whether the gradient of parameter `index` is wanted. Set by the net.
  bool learns(int index) const {
    return static_cast<size_t>(index) >= learns_.size() || learns_[static_cast<size_t>(index)];
  }
  void set_learns(std::vector<bool> learns) { learns_ = std::move(learns); }

  // Where implementations keep what their backward needs of forward (which pixels a pooling took).
  // It is the layer's, because a net may run forward by one plan and backward by another. `part`
  // tells several of them apart.
  std::shared_ptr<Storage>& workspace(size_t part = 0) {
    if (workspace_.size() <= part) workspace_.resize(part + 1);
    return workspace_[part];
  }
  // Where the forward pass of a layer that overwrites its bottom keeps what was there, if its
  // gradient needs that. Any implementation may write it, in any layout, and any other read it.
  Buffer& kept_input(int64_t count) {
    if (!kept_input_) kept_input_ = std::make_unique<Buffer>(context_.dtype);
    kept_input_->resize(count);
    return *kept_input_;
  }

  // "[layer conv1 (Convolution)]", the start of every error about this layer.
  std::string label() const { return "[layer " + name() + " (" + type() + ")]"; }

 protected:
  // Adds a parameter blob filled by `filler`, under a random key of (seed, layer name, index).
  Blob& add_parameter(const Shape& shape, const FillerParameter& filler);
  // For layers that complete their own parameters in set_up (BatchNorm: its statistics are not
  // learned).
  LayerParameter& mutable_param() { return param_; }

 private:
  LayerParameter param_;
  const RunContext& context_;
  int namesakes_ = 0;
  std::vector<std::shared_ptr<Blob>> blobs_;
  std::vector<bool> learns_;
  std::vector<std::shared_ptr<Storage>> workspace_;
  std::unique_ptr<Buffer> kept_input_;
};

// Lets a layer write forward<T> and backward<T> once, for float and double.
template <typename Self>
class PortableLayer : public Layer {
 public:
  using Layer::Layer;
  void run_forward(const Blobs& bottom, const Blobs& top) override {
    if (context().dtype == DType::kF32) {
      self().template forward<float>(bottom, top);
    } else {
      self().template forward<double>(bottom, top);
    }
  }
  void run_backward(const Blobs& top, const std::vector<bool>& propagate_down,
                    const Blobs& bottom) override {
    if (context().dtype == DType::kF32) {
      self().template backward<float>(top, propagate_down, bottom);
    } else {
      self().template backward<double>(top, propagate_down, bottom);
    }
  }
  // For layers without a gradient.
  template <typename T>
  void backward(const Blobs&, const std::vector<bool>&, const Blobs&) {}

 private:
  Self& self() { return static_cast<Self&>(*this); }
};

struct LayerKind {
  static constexpr const char* kKind = "layer";
};
using LayerFactory = std::unique_ptr<Layer> (*)(const LayerParameter&, const RunContext&);
using LayerRegistry = Registry<LayerKind, LayerFactory>;

template <typename L>
std::unique_ptr<Layer> make_layer(const LayerParameter& param, const RunContext& context) {
  return std::make_unique<L>(param, context);
}

// The layer that param.type() names. Throws "Unknown layer type: X (known types: ...)".
std::unique_ptr<Layer> create_layer(const LayerParameter& param, const RunContext& context);

// Runs `work`, and puts the layer's label in front of any error it throws.
template <typename Work>
auto with_label(const Layer& layer, Work&& work) {
  try {
    return work();
  } catch (Error& error) {
    if (error.message().rfind("[layer ", 0) != 0) error.prepend(layer.label());
    throw;
  }
}

}  // namespace caffe

#define CAFFE_REGISTER_LAYER(type, class_name)           \
  [[maybe_unused]] static const bool registered_##type = \
      ::caffe::LayerRegistry::add(#type, &::caffe::make_layer<class_name>)

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/layer.h"

namespace caffe {

// What an implementation does with an array: kWrite overwrites all of it; kUpdate reads it, too.
enum class Access { kRead, kWrite, kUpdate, kUnknown };

// A representation of a buffer that a pass of an implementation touches. Of this the plan of memory
// is made (net/plan/memory.h): content is given up after its last use. kUnknown: it may be read or
// written in any way, or not be touched.
struct BufferUse {
  Buffer* buffer = nullptr;
  int representation = 0;
  Access access = Access::kUnknown;
  // kWrite: may get the memory of `other`, of the same size, whose last use this pass is.
  Buffer* other = nullptr;
  int other_representation = 0;
  // Gets the content of `other`, which is overwritten then, by Buffer::take.
  bool takes = false;
};
using BufferUses = std::vector<BufferUse>;

// One step of a plan: a layer, perhaps with layers after it that it takes along (fused), bound to
// its blobs.
struct Operation {
  Layer* layer = nullptr;
  Blobs bottom;
  Blobs top;  // with layers fused: the last one's
  // Whether somebody will look at top `i` (its values or its gradient) beside the layers. Missing:
  // yes.
  std::vector<bool> observed;
  // Which bottoms' diffs are wanted; empty and false where the net never runs backward.
  std::vector<bool> propagate_down;
  bool backward = false;
  // Layers after this one, in order, each with the one before as a bottom. An implementation that
  // cannot take all of them along refuses.
  std::vector<Layer*> fused;
  // The other bottoms of an Eltwise among them, in order; none where anything runs backward.
  Blobs joined;

  const LayerParameter& param() const { return layer->param(); }
  Blob& parameter(int index) const { return *layer->blobs()[static_cast<size_t>(index)]; }
  bool top_observed(size_t index) const { return index >= observed.size() || observed[index]; }
};

// An operation ready to run: everything that can be decided or allocated has been.
class Implementation {
 public:
  virtual ~Implementation() = default;
  virtual void forward() = 0;
  virtual void backward() = 0;
  // What the passes touch, in this order. Parameters need not be named.
  virtual BufferUses forward_uses() const = 0;
  virtual BufferUses backward_uses() const = 0;
  // Where the fused layers, run one by one, would keep more of forward for their backward than this
  // did: makes the bottoms what they were before forward and returns true. They are then run again.
  virtual bool rewind() { return false; }
  virtual std::string name() const = 0;  // "onednn", "portable"
  virtual std::string details()
      const = 0;  // kernel and layouts, for the plan's print: "jit:avx512 aBcd16b -> aBcd16b"
};

// Thrown by a factory that cannot do an operation. The reason is printed by the plan; the next
// factory is asked.
struct Refusal {
  std::string reason;
};

struct ImplementationFactory {
  std::string name;
  std::function<std::unique_ptr<Implementation>(const Operation&)> make;  // may throw Refusal
  // Types of layers that may go along, in this order; each at most once, none of them needed.
  std::vector<std::string> fuses = {};
};

// Factories per layer type, best first. The layer's portable code is always the last resort.
class ImplementationRegistry {
 public:
  static bool add(const std::string& layer_type, ImplementationFactory factory);
  static const std::vector<ImplementationFactory>& of(const std::string& layer_type);
};

// Runs the layer's own code.
std::unique_ptr<Implementation> make_portable(const Operation& operation);

}  // namespace caffe

// What follows make_function are the types of layers that it may fuse.
#define CAFFE_REGISTER_IMPLEMENTATION(layer_type, backend, make_function, ...) \
  [[maybe_unused]] static const bool registered_##backend##_##layer_type =     \
      ::caffe::ImplementationRegistry::add(                                    \
          #layer_type, ::caffe::ImplementationFactory{#backend, make_function, {__VA_ARGS__}})

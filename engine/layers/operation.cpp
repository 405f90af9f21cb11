#include "layers/operation.h"

#include <map>
#include <set>

namespace caffe {
namespace {

std::map<std::string, std::vector<ImplementationFactory>>& factories() {
  static std::map<std::string, std::vector<ImplementationFactory>> map;
  return map;
}

class PortableImplementation : public Implementation {
 public:
  explicit PortableImplementation(const Operation& operation) : operation_(operation) {
    if (!operation.fused.empty()) throw Refusal{"portable code does not fuse"};
  }
  void forward() override { operation_.layer->run_forward(operation_.bottom, operation_.top); }
  void backward() override {
    operation_.layer->run_backward(operation_.top, operation_.propagate_down, operation_.bottom);
  }
  // A layer's own code reads and writes plain arrays; whether it needs its blobs to go back is not
  // known, and blobs may share buffers.
  BufferUses forward_uses() const override {
    BufferUses uses;
    std::set<Buffer*> read;
    for (Blob* blob : operation_.bottom) {
      uses.push_back({&blob->data()});
      read.insert(&blob->data());
    }
    for (Blob* blob : operation_.top) {
      uses.push_back(
          {&blob->data(), 0, read.count(&blob->data()) ? Access::kUnknown : Access::kWrite});
    }
    return uses;
  }
  BufferUses backward_uses() const override {
    BufferUses uses;
    std::set<Buffer*> read;
    for (const Blobs* blobs : {&operation_.bottom, &operation_.top}) {
      for (Blob* blob : *blobs) uses.push_back({&blob->data()});
    }
    for (Blob* blob : operation_.top) {
      uses.push_back({&blob->diff()});
      read.insert(&blob->diff());
    }
    for (size_t i = 0; i < operation_.bottom.size(); ++i) {
      Buffer& diff = operation_.bottom[i]->diff();
      if (i < operation_.propagate_down.size() && operation_.propagate_down[i])
        uses.push_back({&diff, 0, read.count(&diff) ? Access::kUnknown : Access::kWrite});
    }
    return uses;
  }
  std::string name() const override { return "portable"; }
  std::string details() const override { return "plain"; }

 private:
  Operation operation_;
};

}  // namespace

bool ImplementationRegistry::add(const std::string& layer_type, ImplementationFactory factory) {
  factories()[layer_type].push_back(std::move(factory));
  return true;
}

const std::vector<ImplementationFactory>& ImplementationRegistry::of(
    const std::string& layer_type) {
  static const std::vector<ImplementationFactory> none;
  const auto it = factories().find(layer_type);
  return it == factories().end() ? none : it->second;
}

std::unique_ptr<Implementation> make_portable(const Operation& operation) {
  return std::make_unique<PortableImplementation>(operation);
}

}  // namespace caffe

#include "layers/operation.h"

#include <map>

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

#include "engine/backends/small_net.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "net/plan/plan.h"

namespace caffe::testing {
namespace {

template <typename T>
void fill_typed(Buffer& buffer, int seed, bool integers) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> gaussian(0.f, 1.f);
  auto* values = static_cast<T*>(buffer.write());
  for (int64_t i = 0; i < buffer.count(); ++i) {
    values[i] = static_cast<T>(integers ? std::round(gaussian(random)) : gaussian(random));
  }
}

int seed_of(const std::string& name) {
  return static_cast<int>(std::hash<std::string>()(name) & 0xffff);
}

NetParameter parse(const std::string& prototxt) {
  NetParameter net;
  if (!google::protobuf::TextFormat::ParseFromString(prototxt, &net))
    throw std::runtime_error("bad prototxt");
  return net;
}

// Operation `first` by the backend, with as many layers after it as it takes; how many that were is
// added to `*first`. A strict one must take all that it could.
std::unique_ptr<Implementation> implement(const std::vector<Operation>& operations, size_t* first,
                                          const SmallNet::Options& options) {
  const size_t head = (*first)++;
  for (const ImplementationFactory& factory :
       ImplementationRegistry::of(operations[head].param().type())) {
    if (factory.name != options.backend) continue;
    for (size_t limit = options.fuse ? factory.fuses.size() : 0;; --limit) {
      const Operation operation = fuse(operations, head, factory.fuses, limit);
      try {
        std::unique_ptr<Implementation> implementation = factory.make(operation);
        *first += operation.fused.size();
        return implementation;
      } catch (const Refusal&) {
        if (limit == 0 && options.fall_back) break;
        if (limit == 0 || options.strict) throw;
      }
    }
  }
  return make_portable(operations[head]);
}

}  // namespace

void SmallNet::fill(Buffer& buffer, int seed, bool integers) {
  if (buffer.dtype() == DType::kF32) {
    fill_typed<float>(buffer, seed, integers);
  } else {
    fill_typed<double>(buffer, seed, integers);
  }
}

std::vector<double> SmallNet::values(Buffer& buffer) {
  std::vector<double> values(static_cast<size_t>(buffer.count()));
  const void* data = buffer.read();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = buffer.dtype() == DType::kF32 ? static_cast<const float*>(data)[i]
                                              : static_cast<const double*>(data)[i];
  }
  return values;
}

Blobs SmallNet::find(const google::protobuf::RepeatedPtrField<std::string>& names, bool create) {
  Blobs blobs;
  for (const std::string& name : names) {
    if (create && !blobs_.count(name)) blobs_[name] = std::make_unique<Blob>(options_.dtype);
    blobs.push_back(blobs_.at(name).get());
  }
  return blobs;
}

SmallNet::SmallNet(const std::string& prototxt, const std::map<std::string, Shape>& inputs,
                   const Options& options)
    : options_(options) {
  context_.phase = options.phase;
  context_.dtype = options.dtype;
  context_.precision = options.precision;
  for (const auto& [name, shape] : inputs) {
    blobs_[name] = std::make_unique<Blob>(shape, options.dtype);
    fill(blobs_[name]->data(), seed_of(name), options.values == "integers");
  }
  const NetParameter net = parse(prototxt);
  std::vector<Operation> operations;
  for (const LayerParameter& param : net.layer()) {
    Operation operation;
    for (const std::string& bottom : param.bottom()) {
      operation.propagate_down.push_back(options.backward && !options.no_gradient.count(bottom));
    }
    operation.bottom = find(param.bottom(), false);
    operation.top = find(param.top(), true);
    layers_.push_back(create_layer(param, context_));
    Layer& layer = *layers_.back();
    layer.set_up(operation.bottom, operation.top);
    layer.reshape(operation.bottom, operation.top);
    for (size_t k = 0; k < layer.blobs().size(); ++k) {
      fill(layer.blobs()[k]->data(), seed_of(param.name()) + static_cast<int>(k),
           options.values == "integers");
    }
    if (operations.empty()) layer.set_learns(options.learns);
    operation.layer = &layer;
    operation.backward = options.backward;
    operation.observed.assign(operation.top.size(), !options.unobserved);
    operations.push_back(std::move(operation));
  }
  for (size_t i = 0; i < operations.size();) {
    implementations_.push_back(implement(operations, &i, options));
  }
}

void SmallNet::forward() {
  for (const auto& implementation : implementations_) implementation->forward();
}

void SmallNet::backward() {
  for (auto it = implementations_.rbegin(); it != implementations_.rend(); ++it) (*it)->backward();
}

void SmallNet::clear_gradients() {
  for (const auto& layer : layers_) {
    for (const auto& blob : layer->blobs()) blob->diff().set_zero();
  }
}

void SmallNet::set_gradient(const std::string& blob, int seed) {
  fill(blobs_.at(blob)->diff(), seed, options_.values == "integers");
}

std::string sum(const std::string& bottoms, const std::string& top, const std::string& param) {
  return "layer { name: 'e' type: 'Eltwise' " + bottoms + " top: '" + top + "' eltwise_param { " +
         param + " } }";
}

std::string refusal(const std::string& prototxt, const std::map<std::string, Shape>& inputs,
                    SmallNet::Options options) {
  options.backend = "onednn";
  options.strict = true;
  try {
    SmallNet net(prototxt, inputs, options);
  } catch (const Refusal& refusal) {
    return refusal.reason;
  }
  return "";
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 const std::string& what, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  // Sums of many terms of size 1 cancel: the tolerance is of the largest, not of each.
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * (1 + largest)) << what << " at " << i;
  }
}

void expect_equal_to_portable(const std::string& prototxt,
                              const std::map<std::string, Shape>& inputs,
                              const std::vector<std::string>& outputs, SmallNet::Options options) {
  SmallNet::Options portable = options;
  portable.backend.clear();
  portable.dtype = DType::kF64;
  portable.precision = Precision::kF32;
  // Rounded to 8 significant bits when it is written, and its gradient, too.
  const double tolerance = options.precision == Precision::kBF16 ? 0.01 : 1e-5;
  portable.fuse = false;
  portable.unobserved = false;
  options.backend = "onednn";
  SmallNet oracle(prototxt, inputs, portable);
  SmallNet net(prototxt, inputs, options);
  const size_t layers = static_cast<size_t>(parse(prototxt).layer_size());
  for (const bool clear : {true, false, true}) {
    const std::string when = clear ? " (first pass)" : " (second pass, gradients added)";
    for (SmallNet* each : {&oracle, &net}) {
      if (clear) each->clear_gradients();
      each->forward();
    }
    for (const std::string& output : outputs) {
      expect_near(net.data(output), oracle.data(output), output + when, tolerance);
    }
    if (!options.backward) continue;
    for (SmallNet* each : {&oracle, &net}) {
      for (const std::string& output : outputs) each->set_gradient(output, seed_of(output) + 7);
      each->backward();
    }
    for (const auto& [name, shape] : inputs) {
      if (!options.no_gradient.count(name)) {
        expect_near(net.gradient(name), oracle.gradient(name), "gradient of " + name + when,
                    tolerance);
      }
    }
    for (size_t i = 0; i < layers; ++i) {
      for (size_t k = 0; k < oracle.layer(i).blobs().size(); ++k) {
        expect_near(
            net.values(net.layer(i).blobs()[k]->diff()),
            oracle.values(oracle.layer(i).blobs()[k]->diff()),
            "gradient of parameter " + std::to_string(k) + " of " + oracle.layer(i).name() + when,
            tolerance);
      }
    }
  }
}

}  // namespace caffe::testing

#include "layers/filler.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "core/registry.h"
#include "kernels/draws.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

struct FillerKind {
  static constexpr const char* kKind = "filler";
};
using Filler = void (*)(const FillerParameter&, uint64_t key, Blob&);
using FillerRegistry = Registry<FillerKind, Filler>;

// draw(piece, begin, end) for pieces that each have a stream of their own: the result does not
// depend on the number of threads.
template <typename Draw>
void in_pieces(int64_t count, const Draw& draw) {
  constexpr int64_t kPiece = 4096;
  for_each_heavy((count + kPiece - 1) / kPiece, [&](int64_t piece) {
    draw(static_cast<uint64_t>(piece), piece * kPiece, std::min(count, (piece + 1) * kPiece));
  });
}

// value(stream, index) for every element.
template <typename Value>
void generate(uint64_t key, Blob& blob, const Value& value) {
  const auto run = [&](auto* data) {
    using T = std::remove_pointer_t<decltype(data)>;
    in_pieces(blob.count(), [&, data](uint64_t piece, int64_t begin, int64_t end) {
      RandomStream random(key, piece);
      for (int64_t i = begin; i < end; ++i) data[i] = static_cast<T>(value(random, i));
    });
  };
  if (blob.dtype() == DType::kF32) {
    run(blob.overwrite_data<float>());
  } else {
    run(blob.overwrite_data<double>());
  }
}

void fill_uniform(uint64_t key, Blob& blob, double low, double high) {
  if (blob.dtype() == DType::kF32) {
    auto* data = blob.overwrite_data<float>();
    in_pieces(blob.count(), [=](uint64_t piece, int64_t begin, int64_t end) {
      draw_uniforms(key, piece, low, high, end - begin, data + begin);
    });
    return;
  }
  generate(key, blob, [=](RandomStream& random, int64_t) {
    return low + (high - low) * static_cast<double>(random.uniform());
  });
}

void fill_normal(uint64_t key, Blob& blob, double mean, double deviation) {
  if (blob.dtype() == DType::kF32) {
    auto* data = blob.overwrite_data<float>();
    in_pieces(blob.count(), [=](uint64_t piece, int64_t begin, int64_t end) {
      draw_normals(key, piece, mean, deviation, end - begin, data + begin);
    });
    return;
  }
  generate(key, blob,
           [=](RandomStream& random, int64_t) { return mean + deviation * random.normal(); });
}

void constant(const FillerParameter& param, uint64_t key, Blob& blob) {
  if (param.value() == 0) {
    blob.data().set_zero();
    return;
  }
  const double value = param.value();
  generate(key, blob, [=](RandomStream&, int64_t) { return value; });
}

void uniform(const FillerParameter& param, uint64_t key, Blob& blob) {
  CAFFE_REQUIRE(param.min() <= param.max(), "filler uniform: found min ", param.min(),
                " above max ", param.max());
  fill_uniform(key, blob, param.min(), param.max());
}

// With `sparse: s`, each input feeds s of the outputs (axis 0) on average; the other weights are
// zero.
void gaussian(const FillerParameter& param, uint64_t key, Blob& blob) {
  CAFFE_REQUIRE(param.std() > 0, "filler gaussian: found std ", param.std(),
                ", expected above 0; for equal values use type constant");
  if (param.sparse() < 0) return fill_normal(key, blob, param.mean(), param.std());
  CAFFE_REQUIRE(blob.shape().axes() >= 1,
                "filler gaussian: `sparse` needs a blob with axes, found a scalar");
  const double share = static_cast<double>(param.sparse()) / static_cast<double>(blob.shape()[0]);
  const double mean = param.mean();
  const double deviation = param.std();
  generate(key, blob, [=](RandomStream& random, int64_t) {
    const double value = mean + deviation * random.normal();
    return static_cast<double>(random.uniform()) < share ? value : 0.0;
  });
}

// Random rows (axis 0), each of sum 1.
void positive_unitball(const FillerParameter&, uint64_t key, Blob& blob) {
  fill_uniform(key, blob, 0, 1);
  const int64_t rows = blob.shape().axes() > 0 ? blob.shape()[0] : 1;
  const int64_t columns = blob.count() / std::max<int64_t>(rows, 1);
  const auto normalise = [=](auto* data) {
    for (int64_t row = 0; row < rows; ++row) {
      double total = 0;
      for (int64_t i = 0; i < columns; ++i) total += data[row * columns + i];
      for (int64_t i = 0; i < columns; ++i) data[row * columns + i] /= total;
    }
  };
  if (blob.dtype() == DType::kF32) {
    normalise(blob.update_data<float>());
  } else {
    normalise(blob.update_data<double>());
  }
}

// The number by which xavier and msra normalise: inputs or outputs of one unit, or their mean.
double fan(const FillerParameter& param, const Shape& shape) {
  const auto count = static_cast<double>(shape.count());
  const double in = shape.axes() > 0 ? count / static_cast<double>(shape[0]) : count;
  const double out = shape.axes() > 1 ? count / static_cast<double>(shape[1]) : count;
  switch (param.variance_norm()) {
    case FillerParameter::FAN_OUT:
      return out;
    case FillerParameter::AVERAGE:
      return (in + out) / 2;
    default:
      return in;
  }
}

// Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
// 2010.
void xavier(const FillerParameter& param, uint64_t key, Blob& blob) {
  const double limit = std::sqrt(3 / fan(param, blob.shape()));
  fill_uniform(key, blob, -limit, limit);
}

// He et al., "Delving deep into rectifiers", 2015.
void msra(const FillerParameter& param, uint64_t key, Blob& blob) {
  fill_normal(key, blob, 0, std::sqrt(2 / fan(param, blob.shape())));
}

// Weights with which a deconvolution interpolates linearly.
void bilinear(const FillerParameter&, uint64_t key, Blob& blob) {
  const Shape& shape = blob.shape();
  CAFFE_REQUIRE(shape.axes() == 4 && shape[2] == shape[3], "filler bilinear: found shape ",
                shape.str(), ", expected 4 axes with the last two equal");
  const int64_t width = shape[3];
  const auto factor = static_cast<double>((width + 1) / 2);
  const double center = static_cast<double>(width - 1) / (2 * factor);
  generate(key, blob, [=](RandomStream&, int64_t i) {
    const auto x = static_cast<double>(i % width);
    const auto y = static_cast<double>(i / width % width);
    return (1 - std::abs(x / factor - center)) * (1 - std::abs(y / factor - center));
  });
}

[[maybe_unused]] const bool registered =
    FillerRegistry::add("constant", constant) && FillerRegistry::add("uniform", uniform) &&
    FillerRegistry::add("gaussian", gaussian) &&
    FillerRegistry::add("positive_unitball", positive_unitball) &&
    FillerRegistry::add("xavier", xavier) && FillerRegistry::add("msra", msra) &&
    FillerRegistry::add("bilinear", bilinear);

}  // namespace

void fill(const FillerParameter& param, uint64_t key, Blob& blob) {
  const Filler filler = FillerRegistry::get(param.type());
  CAFFE_REQUIRE(param.sparse() == -1 || param.type() == "gaussian", "filler ", param.type(),
                " knows no `sparse`; only gaussian does");
  if (blob.count() > 0) filler(param, key, blob);
}

}  // namespace caffe

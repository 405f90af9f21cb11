#include "kernels/draws.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "core/random.h"

namespace caffe {
namespace {

constexpr uint64_t kStreams = 200;
constexpr int64_t kMost = 4096;

// Compares `draw` with draws one by one, bit by bit, for counts that end within a counter too.
template <typename Draw, typename One>
void expect_the_stream(const Draw& draw, const One& one) {
  for (uint64_t stream = 0; stream < kStreams; ++stream) {
    const uint64_t key = random_key(stream, "draws");
    const int64_t count = stream % 2 == 0 ? kMost : static_cast<int64_t>(1 + 7 * stream);
    std::vector<float> values(static_cast<size_t>(count) + 1, 42.f);
    draw(key, stream, count, values.data());
    RandomStream random(key, stream);
    for (int64_t i = 0; i < count; ++i) {
      const float expected = static_cast<float>(one(random));
      ASSERT_EQ(std::bit_cast<uint32_t>(values[static_cast<size_t>(i)]),
                std::bit_cast<uint32_t>(expected))
          << "draw " << i << " of stream " << stream << ": " << values[static_cast<size_t>(i)]
          << " for " << expected;
    }
    EXPECT_EQ(values.back(), 42.f);
  }
}

TEST(Draws, NormalsAreTheStreams) {
  for (const double mean : {0.0, -0.25, 1e-6}) {
    for (const double deviation : {1.0, 0.02, 0.0}) {
      expect_the_stream(
          [=](uint64_t key, uint64_t stream, int64_t count, float* values) {
            draw_normals(key, stream, mean, deviation, count, values);
          },
          [=](RandomStream& random) { return mean + deviation * random.normal(); });
    }
  }
}

TEST(Draws, UniformsAreTheStreams) {
  expect_the_stream([](uint64_t key, uint64_t stream, int64_t count,
                       float* values) { draw_uniforms(key, stream, -0.3, 0.1, count, values); },
                    [](RandomStream& random) {
                      return -0.3 + (0.1 - -0.3) * static_cast<double>(random.uniform());
                    });
}

}  // namespace
}  // namespace caffe

#pragma once

#include <cstdint>

namespace caffe {

// The first `count` draws of RandomStream(key, stream), many at once, with the same bits:
// low + (high - low) * uniform(), rounded to float.
void draw_uniforms(uint64_t key, uint64_t stream, double low, double high, int64_t count,
                   float* values);
// mean + deviation * normal(), rounded to float.
void draw_normals(uint64_t key, uint64_t stream, double mean, double deviation, int64_t count,
                  float* values);

}  // namespace caffe

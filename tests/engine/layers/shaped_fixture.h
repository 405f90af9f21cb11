#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/layers/layer_fixture.h"

namespace caffe::testing {

// A layer with bottoms x0, x1, ... of these shapes and tops y0, y1, ...
inline std::unique_ptr<LayerFixture> fixture(const std::string& layer,
                                             const std::vector<Shape>& bottoms, int tops) {
  auto param = parse_text<LayerParameter>(layer);
  param.set_name("tested");
  for (size_t i = 0; i < bottoms.size(); ++i) param.add_bottom(concat("x", i));
  for (int i = 0; i < tops; ++i) param.add_top(concat("y", i));
  auto f = std::make_unique<LayerFixture>(param);
  for (size_t i = 0; i < bottoms.size(); ++i) f->bottom_shaped(concat("x", i), bottoms[i]);
  return f;
}

}  // namespace caffe::testing

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/layers/layer_fixture.h"
#include "support/compare.h"
#include "support/json.h"

// Replays the vectors that Caffe 1.0 made, one layer each, through the layer's portable code.

namespace caffe::testing {
namespace {

const char* const kFolder = CAFFE_SOURCE_DIR "/tests/golden/layers/";

std::vector<std::string> fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".npz") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

NetParameter fixture_net(const std::string& name) {
  std::ifstream file(kFolder + name + ".prototxt");
  std::stringstream text;
  text << file.rdbuf();
  std::string prototxt = text.str();
  const std::string folder = "@DIR@";
  for (size_t at; (at = prototxt.find(folder)) != std::string::npos;)
    prototxt.replace(at, folder.size(), kFolder);
  return parse_text<NetParameter>(prototxt);
}

LayerParameter tested_layer(const NetParameter& net) {
  for (const LayerParameter& layer : net.layer()) {
    if (layer.name() == "L") return layer;
  }
  throw std::runtime_error("no layer L in " + net.name());
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  // Compares one blob's numbers with the array `key`, if the fixture has it.
  void compare(const std::string& key, const Blob& blob, bool diff) {
    const auto it = arrays_.find(key);
    if (it == arrays_.end()) return;
    const float* found = diff ? blob.diff_as<float>() : blob.data_as<float>();
    const double error = golden_error(blob.shape().dims(), found, it->second, rtol_, atol_);
    EXPECT_LE(error, 1) << key << " of shape " << blob.shape().str();
    ++compared_;
  }
  void compare_parameters(LayerFixture& f, const std::string& prefix, bool diff) {
    for (size_t i = 0; i < f.layer->blobs().size(); ++i) {
      compare(prefix + std::to_string(i), *f.layer->blobs()[i], diff);
    }
  }

  Npz arrays_;
  double rtol_ = 0;
  double atol_ = 0;
  int compared_ = 0;
};

TEST_P(Golden, EqualsCaffe) {
  arrays_ = read_npz(kFolder + GetParam() + ".npz");
  const JsonValue meta = parse_json(arrays_.at("meta").text());
  const NetParameter net = fixture_net(GetParam());
  const LayerParameter param = tested_layer(net);
  if (!LayerRegistry::has(param.type())) GTEST_SKIP() << "Unknown layer type: " << param.type();
  rtol_ = member(meta, "rtol").number_value();
  atol_ = member(meta, "atol").number_value();

  RunContext run;
  run.phase = member(meta, "phase").string_value() == "TRAIN" ? TRAIN : TEST;
  LayerFixture f(param, run);
  for (const auto& [key, array] : arrays_) {
    if (key.rfind("in_", 0) == 0)
      set_data<float>(f.bottom_shaped(key.substr(3), Shape(array.shape)), array.values);
  }
  f.set_up();
  for (size_t i = 0; i < f.layer->blobs().size(); ++i) {
    set_data<float>(*f.layer->blobs()[i], arrays_.at("param_" + std::to_string(i)).values);
  }
  f.forward();
  for (const auto& name : param.top()) compare("out_" + name, f.blob(name), false);
  compare_parameters(f, "param_after_", false);

  if (member(meta, "backward").bool_value()) {
    const auto& wanted = member(meta, "bottom_diffs").list_value().values();
    std::vector<bool> propagate_down;
    for (const auto& name : param.bottom()) {
      const auto is_it = [&](const JsonValue& v) { return v.string_value() == name; };
      propagate_down.push_back(std::any_of(wanted.begin(), wanted.end(), is_it));
    }
    for (size_t i = 0; i < f.top.size(); ++i) {
      const auto given =
          arrays_.find("topdiff_" + (static_cast<int>(i) < param.top_size() ? param.top(i) : ""));
      if (given != arrays_.end()) set_diff<float>(*f.top[i], given->second.values);
    }
    // Where nothing asks for a gradient, the net never runs the layer's backward: all stays zero.
    if (net.force_backward() || !f.layer->blobs().empty()) f.backward(propagate_down);
    for (const auto& name : wanted)
      compare("bdiff_" + name.string_value(), f.blob(name.string_value()), true);
    compare_parameters(f, "pdiff_", true);
    if (arrays_.count("pdiff2_0") > 0) {
      f.backward(propagate_down);
      compare_parameters(f, "pdiff2_", true);
    }
  }
  const auto expected = std::count_if(arrays_.begin(), arrays_.end(), [](const auto& entry) {
    const std::string& key = entry.first;
    return key.rfind("out_", 0) == 0 || key.rfind("bdiff_", 0) == 0 || key.rfind("pdiff", 0) == 0 ||
           key.rfind("param_after_", 0) == 0;
  });
  EXPECT_EQ(compared_, expected) << "arrays of the fixture that were not compared";
}

INSTANTIATE_TEST_SUITE_P(Layers, Golden, ::testing::ValuesIn(fixtures()),
                         [](const ::testing::TestParamInfo<std::string>& info) {
                           return info.param;
                         });

}  // namespace
}  // namespace caffe::testing

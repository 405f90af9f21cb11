#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/random.h"
#include "engine/layers/layer_fixture.h"

namespace caffe::testing {

// How the values of a bottom are drawn.
enum class Values {
  kNormal,
  kNonZero,   // magnitude 0.2 to 1.2: off the kinks and poles at 0
  kDistinct,  // no two values closer than 0.01: no ties for maxima
  kPositive,  // 0.2 to 1.2
  kLabels,    // 0, 1 or 2
  kBits,      // 0 or 1
};

struct GradientCase {
  std::string name;
  std::string layer;  // text of a LayerParameter without name, bottom and top
  std::vector<Shape> bottoms;
  std::vector<Values> values = {Values::kNormal};  // of each bottom; the last counts for the rest
  int tops = 1;
  bool in_place = false;
  Phase phase = TRAIN;
  std::vector<bool> wanted = {};  // bottoms whose gradient is checked; empty: all
  bool only_first_top = false;    // the others carry no gradient

  Values values_of(size_t i) const { return values[std::min(i, values.size() - 1)]; }
};

// Compares a layer's gradients with finite differences of its forward pass, in double precision,
// and checks what backward promises: bottoms' diffs are overwritten, parameters' diffs are added
// to, and what is not wanted is left alone.
class GradientChecker {
 public:
  explicit GradientChecker(const GradientCase& test)
      : case_(test), fixture_(parameter(test), context(test)) {
    for (size_t i = 0; i < test.bottoms.size(); ++i) {
      fixture_.bottom_shaped(bottom_name(i), test.bottoms[i]);
    }
    fixture_.set_up();
    for (size_t i = 0; i < test.bottoms.size(); ++i) values_.push_back(draw(i));
    wanted_ = test.wanted.empty() ? std::vector<bool>(test.bottoms.size(), true) : test.wanted;
    std::vector<bool> learns;
    for (int i = 0; i < static_cast<int>(fixture_.layer->blobs().size()); ++i) {
      const LayerParameter& param = fixture_.layer->param();
      learns.push_back(i >= param.param_size() || param.param(i).lr_mult() != 0);
    }
    fixture_.layer->set_learns(learns);
  }

  void run() {
    forward();
    draw_top_gradients();
    backward(wanted_);
    const std::vector<std::vector<double>> bottoms = bottom_diffs();
    for (size_t i = 0; i < values_.size(); ++i) {
      if (wanted_[i]) compare(concat("bottom ", i), values_[i].data(), bottoms[i]);
    }
    auto& blobs = fixture_.layer->blobs();
    for (size_t i = 0; i < blobs.size(); ++i) {
      if (!fixture_.layer->learns(static_cast<int>(i))) {
        expect_all(*blobs[i], kBefore, concat("parameter ", i, ", which is not learned"));
        continue;
      }
      std::vector<double> found = diff_of<double>(*blobs[i]);
      for (double& value : found) value -= kBefore;
      compare(concat("parameter ", i), blobs[i]->update_data<double>(), found);
    }
    check_nothing_wanted();
  }

 private:
  static constexpr double kBefore = 0.5;  // what diffs hold before backward
  static constexpr double kStep = 1e-5;
  static constexpr double kTolerance = 1e-6;

  static std::string bottom_name(size_t i) { return concat("x", i); }
  static RunContext context(const GradientCase& test) {
    RunContext run;
    run.dtype = DType::kF64;
    run.phase = test.phase;
    run.seed = 7;
    return run;
  }
  static LayerParameter parameter(const GradientCase& test) {
    auto param = parse_text<LayerParameter>(test.layer);
    param.set_name("tested");
    for (size_t i = 0; i < test.bottoms.size(); ++i) param.add_bottom(bottom_name(i));
    for (int i = 0; i < test.tops; ++i)
      param.add_top(test.in_place && i == 0 ? "x0" : concat("y", i));
    return param;
  }

  std::vector<double> draw(size_t bottom) {
    std::vector<double> values(static_cast<size_t>(case_.bottoms[bottom].count()));
    RandomStream random(random_key(11, case_.name), bottom);
    for (size_t i = 0; i < values.size(); ++i) {
      switch (case_.values_of(bottom)) {
        case Values::kNormal:
          values[i] = random.normal();
          break;
        case Values::kNonZero:
          values[i] = (0.2 + random.uniform()) * (random.next() % 2 == 0 ? 1 : -1);
          break;
        case Values::kDistinct:  // each bottom in a class of its own modulo 0.01 times the number
                                 // of bottoms
          values[i] = 0.01 * static_cast<double>(i * case_.bottoms.size() + bottom);
          break;
        case Values::kPositive:
          values[i] = 0.2 + random.uniform();
          break;
        case Values::kLabels:
          values[i] = random.below(3);
          break;
        case Values::kBits:
          values[i] = random.below(2);
          break;
      }
    }
    if (case_.values_of(bottom) == Values::kDistinct) {
      for (size_t i = values.size(); i > 1; --i) {
        std::swap(values[i - 1], values[random.below(static_cast<uint32_t>(i))]);
      }
    }
    return values;
  }

  void forward() {
    for (size_t i = 0; i < values_.size(); ++i) set_data<double>(*fixture_.bottom[i], values_[i]);
    fixture_.forward();
  }

  // The function that is differentiated: the sum of all tops' values, weighted by their gradients.
  double objective() {
    forward();
    double total = 0;
    for (size_t t = 0; t < fixture_.top.size(); ++t) {
      const double* y = fixture_.top[t]->data_as<double>();
      for (size_t i = 0; i < top_diffs_[t].size(); ++i) total += top_diffs_[t][i] * y[i];
    }
    return total;
  }

  void draw_top_gradients() {
    RandomStream random(random_key(13, case_.name));
    for (size_t t = 0; t < fixture_.top.size(); ++t) {
      std::vector<double> diff(static_cast<size_t>(fixture_.top[t]->count()));
      for (double& value : diff) value = t > 0 && case_.only_first_top ? 0 : random.normal();
      top_diffs_.push_back(diff);
    }
  }

  void backward(const std::vector<bool>& wanted) {
    for (const auto& blob : fixture_.layer->blobs()) fill_diff(*blob);
    for (Blob* blob : fixture_.bottom) fill_diff(*blob);
    for (size_t t = 0; t < fixture_.top.size(); ++t)
      set_diff<double>(*fixture_.top[t], top_diffs_[t]);
    fixture_.backward(wanted);
  }
  static void fill_diff(Blob& blob) {
    set_diff<double>(blob, std::vector<double>(static_cast<size_t>(blob.count()), kBefore));
  }
  std::vector<std::vector<double>> bottom_diffs() {
    std::vector<std::vector<double>> all;
    for (const Blob* blob : fixture_.bottom) all.push_back(diff_of<double>(*blob));
    return all;
  }

  // `values` are changed one by one; `found` is what backward says.
  void compare(const std::string& what, double* values, const std::vector<double>& found) {
    for (size_t i = 0; i < found.size(); ++i) {
      const double value = values[i];
      values[i] = value + kStep;
      const double above = objective();
      values[i] = value - kStep;
      const double below = objective();
      values[i] = value;
      const double expected = (above - below) / (2 * kStep);
      const double scale = std::max({1.0, std::abs(expected), std::abs(found[i])});
      ASSERT_NEAR(found[i], expected, kTolerance * scale)
          << what << ", element " << i << " of " << found.size();
    }
  }

  static void expect_all(const Blob& blob, double value, const std::string& what) {
    for (const double found : diff_of<double>(blob)) ASSERT_EQ(found, value) << what;
  }

  void check_nothing_wanted() {
    forward();
    fixture_.layer->set_learns(std::vector<bool>(fixture_.layer->blobs().size(), false));
    backward(std::vector<bool>(values_.size(), false));
    for (const auto& blob : fixture_.layer->blobs())
      expect_all(*blob, kBefore, "a parameter that is not learned");
    for (const Blob* bottom : fixture_.bottom) {
      bool shared = false;
      for (const Blob* top : fixture_.top) shared |= top->diff_buffer() == bottom->diff_buffer();
      if (!shared) expect_all(*bottom, kBefore, "a bottom whose gradient is not wanted");
    }
  }

  GradientCase case_;
  LayerFixture fixture_;
  std::vector<std::vector<double>> values_;
  std::vector<std::vector<double>> top_diffs_;
  std::vector<bool> wanted_;
};

}  // namespace caffe::testing

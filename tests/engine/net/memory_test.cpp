#include "net/plan/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "backends/cpu/precision.h"
#include "io/prototxt.h"
#include "net/net.h"
#include "support/error_of.h"

namespace caffe {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

// A step that touches what it is told to, and then does as it is told.
class Told : public Implementation {
 public:
  Told(BufferUses up, BufferUses down) : up_(std::move(up)), down_(std::move(down)) {}
  void forward() override {}
  void backward() override {}
  BufferUses forward_uses() const override { return up_; }
  BufferUses backward_uses() const override { return down_; }
  std::string name() const override { return "told"; }
  std::string details() const override { return ""; }

 private:
  BufferUses up_, down_;
};

std::vector<Plan::Step> steps_of(const std::vector<std::pair<BufferUses, BufferUses>>& uses) {
  std::vector<Plan::Step> steps;
  for (const auto& [up, down] : uses) {
    Plan::Step step;
    step.backward = true;
    step.implementation = std::make_unique<Told>(up, down);
    steps.push_back(std::move(step));
  }
  return steps;
}

BufferUse read(Buffer& buffer) { return {&buffer, 0, Access::kRead}; }
BufferUse write(Buffer& buffer) { return {&buffer, 0, Access::kWrite}; }

class MemoryPlanTest : public ::testing::Test {
 protected:
  static constexpr int64_t kCount = 256;
  static constexpr size_t kBytes = kCount * sizeof(float);
  MemoryPlanTest() {
    for (Buffer* buffer : {&a_, &b_, &c_, &d_}) buffer->resize(kCount);
  }
  static void put(Buffer& buffer, float value) {
    std::fill_n(static_cast<float*>(buffer.write()), kCount, value);
  }
  static float get(Buffer& buffer) { return static_cast<const float*>(buffer.read())[kCount - 1]; }
  Buffer a_, b_, c_, d_;
};

TEST_F(MemoryPlanTest, WhatIsNeededAtOtherTimesSharesMemory) {
  const auto steps = steps_of({{{write(a_)}, {}},
                               {{read(a_), write(b_)}, {}},
                               {{read(b_), write(c_)}, {}},
                               {{read(c_), write(d_)}, {}}});
  MemoryPlan plan(steps, {}, false, std::make_shared<Arena>());
  EXPECT_EQ(plan.bytes(), 2 * kBytes);
  EXPECT_EQ(plan.bytes_at_once(), 2 * kBytes);
  EXPECT_EQ(plan.bytes_apart(), 4 * kBytes);
  plan.start();
  plan.before(0, false);
  put(a_, 1);
  plan.after(0, false);
  plan.before(1, false);
  put(b_, get(a_) + 1);
  plan.after(1, false);
  plan.before(2, false);
  put(c_, get(b_) + 1);
  EXPECT_EQ(get(c_), 3);
  EXPECT_EQ(get(b_), 2);
}

TEST_F(MemoryPlanTest, WhatBackwardNeedsStays) {
  const auto steps =
      steps_of({{{write(a_)}, {}}, {{read(a_), write(b_)}, {read(a_)}}, {{read(b_)}, {}}});
  EXPECT_EQ(MemoryPlan(steps, {}, true, std::make_shared<Arena>()).bytes(), 2 * kBytes);
}

TEST_F(MemoryPlanTest, ReadingWhatWasGivenUpIsAnError) {
  const auto steps = steps_of({{{write(a_)}, {}}, {{read(a_)}, {}}});
  MemoryPlan plan(steps, {}, true, std::make_shared<Arena>());
  plan.start();
  plan.before(0, false);
  put(a_, 1);
  plan.after(0, false);
  plan.before(1, false);
  EXPECT_EQ(get(a_), 1);
  plan.after(1, false);
  EXPECT_THROW(a_.read(), Error);
}

TEST_F(MemoryPlanTest, WritingWhatThePlanDoesNotExpectTouchesNobodyElse) {
  const auto steps = steps_of({{{write(a_)}, {}}, {{read(a_), write(b_)}, {}}, {{read(b_)}, {}}});
  MemoryPlan plan(steps, {}, true, std::make_shared<Arena>());
  plan.start();
  plan.before(0, false);
  put(a_, 1);
  put(b_, 7);  // too early
  plan.after(0, false);
  plan.before(1, false);
  EXPECT_EQ(get(a_), 1);
  EXPECT_EQ(get(b_), 7);
}

TEST_F(MemoryPlanTest, AnHeirTakesThePlaceOfWhatItComesFrom) {
  const BufferUse heir{&b_, 0, Access::kWrite, &a_, 0};
  const auto steps = steps_of({{{write(a_)}, {}}, {{read(a_), heir}, {}}, {{read(b_)}, {}}});
  MemoryPlan plan(steps, {}, true, std::make_shared<Arena>());
  EXPECT_EQ(plan.bytes(), kBytes);
  plan.start();
  plan.before(0, false);
  put(a_, 5);
  plan.after(0, false);
  plan.before(1, false);
  b_.take(0, &a_, 0);
  plan.after(1, false);
  EXPECT_EQ(get(b_), 5);
}

// As a convolution does with a sum's other term, and then once more for what it writes itself.
TEST_F(MemoryPlanTest, AnHeirMayBeWrittenTwice) {
  const BufferUse heir{&b_, 0, Access::kWrite, &a_, 0};
  const auto bytes = [&](BufferUse later) {
    const auto steps = steps_of({{{write(a_), write(c_)}, {}},
                                 {{read(a_), heir, read(c_), write(b_)}, {}},
                                 {{read(b_), later}, {}}});
    return MemoryPlan(steps, {}, false, std::make_shared<Arena>()).bytes();
  };
  EXPECT_EQ(bytes(read(b_)), 2 * kBytes);
  EXPECT_EQ(bytes(read(a_)), 3 * kBytes);
}

// Of several that it comes from, all of which are read as the heir is written.
TEST_F(MemoryPlanTest, AnHeirTakesThePlaceOfOneOnly) {
  const BufferUse a{&a_, 0, Access::kUpdate}, b{&b_, 0, Access::kUpdate};
  const BufferUse of_a{&c_, 0, Access::kWrite, &a_, 0}, of_b{&c_, 0, Access::kWrite, &b_, 0};
  const auto steps = steps_of({{{a, b, of_a, of_b}, {}}, {{read(c_)}, {}}});
  EXPECT_EQ(MemoryPlan(steps, {}, false, std::make_shared<Arena>()).bytes(), 2 * kBytes);
}

// What works in place keeps its input, whether somebody holds a view of it or not.
TEST_F(MemoryPlanTest, WhatIsTakenOutlivesWhatOverwritesIt) {
  const BufferUse taken{&b_, 0, Access::kWrite, &a_, 0, true};
  const auto steps = steps_of(
      {{{write(a_)}, {}}, {{read(a_), taken}, {read(b_)}}, {{read(a_), write(c_)}, {write(d_)}}});
  for (const bool viewed : {false, true}) {
    MemoryPlan plan(steps, {}, true, std::make_shared<Arena>());
    for (int pass = 0; pass < 2; ++pass) {
      std::shared_ptr<Buffer::Pin> pin;
      plan.start();
      plan.before(0, false);
      put(a_, 1);
      if (viewed) pin = a_.pin();
      plan.after(0, false);
      plan.before(1, false);
      b_.take(0, &a_, 0, true);
      put(a_, 2);
      plan.after(1, false);
      plan.before(2, false);
      EXPECT_EQ(get(a_), 2);
      put(c_, 3);
      plan.after(2, false);
      plan.before(2, true);
      put(d_, 4);
      plan.after(2, true);
      plan.before(1, true);
      EXPECT_EQ(get(b_), 1);
      plan.after(1, true);
    }
  }
}

TEST_F(MemoryPlanTest, SettlingKeepsWhatIsThere) {
  const auto steps = steps_of({{{write(a_)}, {}}, {{read(a_), write(b_)}, {}}, {{read(b_)}, {}}});
  auto arena = std::make_shared<Arena>();
  {
    MemoryPlan plan(steps, {}, true, arena);
    plan.start();
    plan.before(0, false);
    put(a_, 1);
    plan.settle();
  }
  arena.reset();
  EXPECT_EQ(get(a_), 1);
}

const char* const kNet = R"(
  layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 12 dim: 12 } } }
  layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
  layer { name: "c" type: "Convolution" bottom: "x" top: "c"
    convolution_param { num_output: 20 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
  layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
  layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
  layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
  layer { name: "d" type: "Convolution" bottom: "c" top: "d"
    convolution_param { num_output: 20 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "b" type: "BNLL" bottom: "d" top: "d" }
  layer { name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" }
  layer { name: "k" type: "Concat" bottom: "c" bottom: "e" top: "k" }
  layer { name: "o" type: "LRN" bottom: "k" top: "o" }
  layer { name: "p" type: "Pooling" bottom: "o" top: "p"
    pooling_param { kernel_size: 3 stride: 2 } }
  layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
  layer { name: "i" type: "InnerProduct" bottom: "f" top: "i"
    inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
  layer { name: "t" type: "TanH" bottom: "i" top: "t" }
  layer { name: "u" type: "Dropout" bottom: "t" top: "t" }
  layer { name: "j" type: "InnerProduct" bottom: "t" top: "j"
    inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
  layer { name: "l" type: "SoftmaxWithLoss" bottom: "j" bottom: "label" top: "l" }
)";

class PlannedNetTest : public ::testing::Test {
 protected:
  PlannedNetTest() { setenv("CAFFE_POISON_MEMORY", "1", 1); }
  ~PlannedNetTest() override { unsetenv("CAFFE_POISON_MEMORY"); }

  static void fill(Net& net) {
    Blob& x = net.blob("x");
    float* numbers = x.overwrite_data<float>();
    for (int i = 0; i < x.count(); ++i) numbers[i] = static_cast<float>(i % 17 - 8) / 4;
  }
  static std::unique_ptr<Net> make(NetOptions options) {
    options.phase = TRAIN;
    auto net = std::make_unique<Net>(parse_net(kNet, "memory_test.prototxt"), options);
    fill(*net);
    float* label = net->blob("label").overwrite_data<float>();
    for (int i = 0; i < 2; ++i) label[i] = static_cast<float>(i);
    return net;
  }
  static std::unique_ptr<Net> planned(std::shared_ptr<Arena> arena = nullptr) {
    NetOptions options;
    options.observed = std::vector<std::string>{};
    options.arena = std::move(arena);
    return make(options);
  }
  static std::unique_ptr<Net> limited(size_t bytes) {
    NetOptions options;
    options.observed = std::vector<std::string>{};
    options.memory_limit = bytes;
    return make(options);
  }
  static size_t number_after(const std::string& words, const std::string& text) {
    return std::stoul(text.substr(text.find(words) + words.size()));
  }
  static void expect_equal_gradients(const Net& net, const Net& oracle) {
    for (size_t i = 0; i < net.parameters().size(); ++i) {
      const Blob &actual = *net.parameters()[i].blob, &expected = *oracle.parameters()[i].blob;
      for (int64_t k = 0; k < actual.count(); ++k) {
        const float value = expected.diff_as<float>()[k];
        ASSERT_NEAR(actual.diff_as<float>()[k], value, 1e-5 * (1 + std::abs(value)))
            << net.parameters()[i].name << " at " << k;
      }
    }
  }
};

// The same kernels, with every blob in memory of its own.
TEST_F(PlannedNetTest, ComputesWhatANetThatKeepsAllComputes) {
  const auto net = planned();
  NetOptions all;
  const auto oracle = make(all);
  for (int pass = 0; pass < 3; ++pass) {
    for (Net* each : {net.get(), oracle.get()}) {
      each->set_pass(pass);
      each->clear_parameter_diffs();
      each->forward();
      each->backward();
    }
    expect_equal_gradients(*net, *oracle);
  }
}

TEST_F(PlannedNetTest, SaysWhatItSaves) {
  EXPECT_THAT(planned()->plan_text(), HasSubstr("memory shared by the steps: "));
}

TEST_F(PlannedNetTest, GoesBackOnceAfterEachPassForward) {
  const auto net = planned();
  EXPECT_THAT(error_of([&] { net->backward(); }), HasSubstr("nothing to go back from"));
  net->forward();
  net->backward();
  EXPECT_THAT(error_of([&] { net->backward(); }), HasSubstr("nothing to go back from"));
  net->forward();
  net->backward();
}

TEST_F(PlannedNetTest, KeepsAllOnceItRunsInParts) {
  const auto net = planned();
  const auto oracle = make({});
  net->forward();
  const int last = net->layer_count() - 1;
  for (Net* each : {net.get(), oracle.get()}) {
    each->set_pass(0);
    each->clear_parameter_diffs();
    each->forward(0, 9);
    each->forward(10, last);
    each->backward(last, 7);
    each->backward(6, 0);
  }
  expect_equal_gradients(*net, *oracle);
  net->backward();
}

TEST_F(PlannedNetTest, MayShareMemoryWithANetThatRunsInTurn) {
  auto arena = std::make_shared<Arena>();
  const auto net = planned(arena);
  const auto other = planned(arena);
  const auto oracle = make({});
  other->forward();
  for (Net* each : {net.get(), oracle.get()}) {
    each->clear_parameter_diffs();
    each->forward();
    each->backward();
  }
  expect_equal_gradients(*net, *oracle);
  net->forward();
  other->forward();
  EXPECT_THAT(error_of([&] { net->backward(); }), HasSubstr("nothing to go back from"));
}

// Sums that a convolution takes along, of: what others have read before; what it reads itself; the
// net's input; what is read later, too, under another shape; and, in place, what nobody reads.
const char* const kResidual = R"(
  layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 16 dim: 9 dim: 9 } } }
  layer { name: "a" type: "Convolution" bottom: "x" top: "a"
    convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
  layer { name: "b" type: "Convolution" bottom: "a" top: "b"
    convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
  layer { name: "c" type: "Convolution" bottom: "b" top: "c"
    convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
  layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
  layer { name: "s" type: "Scale" bottom: "c" top: "c"
    scale_param { bias_term: true filler { value: 2 } bias_filler { value: 0.5 } } }
  layer { name: "d" type: "Eltwise" bottom: "a" bottom: "c" top: "d" }
  layer { name: "q" type: "ReLU" bottom: "d" top: "d" }
  layer { name: "e" type: "Convolution" bottom: "d" top: "e"
    convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
  layer { name: "f" type: "Eltwise" bottom: "d" bottom: "e" top: "f" }
  layer { name: "g" type: "Convolution" bottom: "f" top: "g"
    convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "h" type: "Eltwise" bottom: "g" bottom: "x" top: "h" }
  layer { name: "i" type: "Convolution" bottom: "h" top: "i"
    convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "j" type: "Eltwise" bottom: "i" bottom: "f" top: "i" }
  MORE
)";
const char* const kReadLater = R"(
  layer { name: "v" type: "Flatten" bottom: "i" top: "v" }
  layer { name: "k" type: "Convolution" bottom: "i" top: "k"
    convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
  layer { name: "l" type: "Eltwise" bottom: "i" bottom: "k" top: "l" }
  layer { name: "w" type: "Flatten" bottom: "l" top: "w" }
  layer { name: "m" type: "Eltwise" bottom: "v" bottom: "w" top: "m" }
)";

class ResidualNetTest : public PlannedNetTest {
 protected:
  static std::unique_ptr<Net> make(const std::string& more, bool portable,
                                   Precision precision = Precision::kF32) {
    NetOptions options;
    options.forward_only = true;
    options.portable_only = portable;
    options.precision = precision;
    if (!portable) options.observed.emplace();
    std::string text = kResidual;
    text.replace(text.find("MORE"), 4, more);
    return std::make_unique<Net>(parse_net(text, "memory_test.prototxt"), options);
  }
  static std::vector<float> output(const Net& net) {
    const Blob& blob = *net.blobs()[static_cast<size_t>(net.output_blobs()[0])];
    return std::vector<float>(blob.data_as<float>(), blob.data_as<float>() + blob.count());
  }
  static void expect_near(const Net& net, const Net& oracle, float tolerance = 1e-5F) {
    const std::vector<float> actual = output(net), expected = output(oracle);
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 0);
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << i;
  }
  static size_t sums(const Net& net) {
    const std::string plan = net.plan_text();
    size_t count = 0;
    for (size_t at = plan.find("+sum"); at != plan.npos; at = plan.find("+sum", at + 1)) ++count;
    return count;
  }
};

TEST_F(ResidualNetTest, AddsWhereTheTermLiesOrToACopy) {
  for (const std::string more : {"", kReadLater}) {
    const auto net = make(more, false), oracle = make(more, true);
    EXPECT_EQ(sums(*net), more.empty() ? 4u : 5u);
    for (Net* each : {net.get(), oracle.get()}) fill(*each);
    for (const int64_t batch : {2, 2, 3}) {  // twice: an input stays what it was
      for (Net* each : {net.get(), oracle.get()}) {
        if (each->blob("x").shape()[0] != batch) {
          each->blob("x").reshape({batch, 16, 9, 9});
          each->reshape();
          fill(*each);
        }
        each->forward();
      }
      expect_near(*net, *oracle);
    }
  }
}

// Two images at a time: the sum and what the convolution reads.
TEST_F(ResidualNetTest, TakesNoMemoryForSums) {
  constexpr size_t kImages = 2 * 16 * 9 * 9 * sizeof(float);
  const std::string plan = make("", false)->plan_text();
  EXPECT_LE(number_after("memory shared by the steps: ", plan), 2 * (kImages + 64));
}

TEST_F(ResidualNetTest, RunsInParts) {
  const auto oracle = make(kReadLater, true);
  fill(*oracle);
  oracle->forward();
  const int last = oracle->layer_count() - 1;
  for (int cut = 1; cut <= last; ++cut) {
    SCOPED_TRACE(cut);
    const auto net = make(kReadLater, false);
    fill(*net);
    net->forward(0, cut - 1);
    net->forward(cut, last);
    expect_near(*net, *oracle);
  }
}

TEST_F(ResidualNetTest, RoundsInBf16) {
  if (!supports(Precision::kBF16)) GTEST_SKIP() << "this processor does not compute in bf16";
  const auto net = make(kReadLater, false, Precision::kBF16), oracle = make(kReadLater, true);
  EXPECT_EQ(sums(*net), 5u);
  for (Net* each : {net.get(), oracle.get()}) {
    fill(*each);
    each->forward();
  }
  expect_near(*net, *oracle, 0.02F);
}

// Steps that run twice give the same bits, and count once in the running statistics.
TEST_F(PlannedNetTest, ComputesTheSameWithLessMemory) {
  const auto oracle = planned();
  const std::string shared = "memory shared by the steps: ";
  const size_t all = number_after(shared, oracle->plan_text());
  const size_t least = number_after("needs at least ", error_of([] { limited(1); }));
  ASSERT_LT(least, all - 1);
  for (const size_t limit : {all - 1, least}) {
    const auto net = limited(limit);
    EXPECT_LE(number_after(shared, net->plan_text()), limit);
    EXPECT_THAT(net->plan_text(),
                HasSubstr(" steps run forward again on the way back; that saves "));
    for (int pass = 0; pass < 3; ++pass) {
      double loss[2];
      for (int i = 0; i < 2; ++i) {
        Net& each = i == 0 ? *net : *oracle;
        each.set_pass(pass);
        each.clear_parameter_diffs();
        loss[i] = each.forward();
        each.plan_text();  // may be asked for at any time
        each.backward();
        EXPECT_EQ(each.context().pass, pass + 1);
      }
      EXPECT_EQ(loss[0], loss[1]);
      for (size_t i = 0; i < net->parameters().size(); ++i) {
        const Blob &actual = *net->parameters()[i].blob, &expected = *oracle->parameters()[i].blob;
        for (int64_t k = 0; k < actual.count(); ++k) {
          ASSERT_EQ(actual.diff_as<float>()[k], expected.diff_as<float>()[k])
              << net->parameters()[i].name << " at " << k;
          ASSERT_EQ(actual.data_as<float>()[k], expected.data_as<float>()[k])
              << net->parameters()[i].name << " at " << k;
        }
      }
    }
    oracle->set_pass(0);
    for (size_t i = 0; i < oracle->parameters().size(); ++i) {  // as new for the next limit
      Blob& blob = *oracle->parameters()[i].blob;
      const auto fresh = limited(all);
      std::copy_n(fresh->parameters()[i].blob->data_as<float>(), blob.count(),
                  blob.overwrite_data<float>());
    }
  }
}

TEST_F(PlannedNetTest, RefusesALimitThatItCannotKeep) {
  EXPECT_THAT(error_of([] { limited(1000); }),
              AllOf(HasSubstr("needs at least "), HasSubstr("the limit is 1000: raise it")));
  NetOptions all;
  all.memory_limit = 1 << 30;
  EXPECT_THAT(error_of([&] { make(all); }), HasSubstr("because it keeps all blobs"));
}

// What a step writes itself, and then once more, it does not change.
TEST_F(MemoryPlanTest, IsCutBeforeAStepThatWritesTwice) {
  const auto steps = steps_of({{{write(a_)}, {}},
                               {{read(a_), write(b_)}, {}},
                               {{read(a_), write(c_), read(b_), write(c_)}, {}},
                               {{read(c_), write(d_)}, {read(c_)}}});
  EXPECT_EQ(Segments(steps, {}, {false, true, true, true}).most(), 4u);
}

TEST_F(MemoryPlanTest, IsCutWhereNothingIsChangedLater) {
  const BufferUse changed = {&b_, 0, Access::kUpdate};
  const auto steps = steps_of({{{write(a_)}, {}},
                               {{read(a_), write(b_)}, {}},
                               {{changed}, {}},
                               {{read(b_), write(c_)}, {read(b_)}},
                               {{read(c_), write(d_)}, {read(c_)}}});
  const Segments segments(steps, {}, {false, true, true, true, true});
  EXPECT_EQ(segments.most(), 4u);  // not between the second and the third
  EXPECT_EQ(segments.repeats(1), Repeats(5));
  for (size_t count = 2; count <= segments.most(); ++count) {
    for (const std::vector<size_t>& again : segments.repeats(count)) {
      const bool writes = std::count(again.begin(), again.end(), 1u) > 0;
      EXPECT_EQ(writes, std::count(again.begin(), again.end(), 2u) > 0) << count;
      EXPECT_EQ(std::count(again.begin(), again.end(), 0u), 0) << count;
      EXPECT_EQ(std::count(again.begin(), again.end(), 4u), 0) << count;
    }
  }
}

}  // namespace
}  // namespace caffe

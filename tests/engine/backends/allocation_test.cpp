#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine/backends/small_net.h"
#include "io/prototxt.h"
#include "net/net.h"

namespace {

// Counts what this program allocates while armed. oneDNN allocates for itself; its calls are told
// by their address.
std::atomic<bool> armed{false};
std::atomic<int> allocations{0};

[[maybe_unused]] void count(void* caller) {
  if (!armed) return;
  Dl_info info;
  if (dladdr(caller, &info) != 0 && std::strstr(info.dli_fname, "dnnl") != nullptr) return;
  ++allocations;
}

#ifndef __SANITIZE_ADDRESS__  // which has an allocator of its own
void* allocate(size_t bytes, void* caller) {
  count(caller);
  void* memory = std::malloc(bytes ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
#endif

}  // namespace

#ifndef __SANITIZE_ADDRESS__
void* operator new(size_t bytes) { return allocate(bytes, __builtin_return_address(0)); }
void* operator new[](size_t bytes) { return allocate(bytes, __builtin_return_address(0)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace caffe::testing {
namespace {

TEST(OnednnStep, AllocatesNothingOfItsOwn) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  const char* const net_text =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "
      "20 kernel_size: 3 } }"
      "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"
      "layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p' pooling_param { kernel_size: 3 "
      "stride: 2 } }"
      "layer { name: 'q' type: 'ReLU' bottom: 'p' top: 'p' }"
      "layer { name: 'i' type: 'InnerProduct' bottom: 'p' top: 'i' inner_product_param { "
      "num_output: 10 } }"
      "layer { name: 's' type: 'Softmax' bottom: 'i' top: 'y' }";
  SmallNet net(net_text, {{"x", {4, 3, 18, 18}}}, {.backend = "onednn", .fuse = true});
  const auto step = [&net](bool clear) {
    if (clear) net.clear_gradients();
    net.forward();
    net.backward();
  };
  net.forward();
  net.set_gradient("y", 1);
  step(true);
  step(false);
  armed = true;
  for (int i = 0; i < 10; ++i) step(i % 2 == 0);
  armed = false;
  EXPECT_EQ(allocations, 0);

  armed = true;
  delete new int(1);
  armed = false;
  EXPECT_EQ(allocations, 1) << "the counter counts";
}

// With the plan of memory, which lends arrays their places around every step.
TEST(NetStep, AllocatesNothingOfItsOwn) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  NetOptions options;
  options.phase = TRAIN;
  options.observed = std::vector<std::string>{};
  Net net(parse_net(R"(
      layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 18 dim: 18 } } }
      layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 4 } } }
      layer { name: "c" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
      layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
      layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
      layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
      layer { name: "d" type: "Convolution" bottom: "c" top: "d"
        convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
      layer { name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" }
      layer { name: "p" type: "Pooling" bottom: "e" top: "p"
        pooling_param { kernel_size: 3 stride: 2 } }
      layer { name: "i" type: "InnerProduct" bottom: "p" top: "i"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
      layer { name: "l" type: "SoftmaxWithLoss" bottom: "i" bottom: "y" top: "l" })",
                    "allocation_test.prototxt"),
          options);
  const auto step = [&net] {
    net.clear_parameter_diffs();
    net.forward();
    net.backward();
  };
  for (int i = 0; i < 3; ++i) step();
  armed = true;
  allocations = 0;
  for (int i = 0; i < 10; ++i) step();
  armed = false;
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace caffe::testing

// `caffe device_query`: what nets can run on.

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "backends/cpu/precision.h"
#include "core/memory.h"
#include "tools/commands/commands.h"

namespace caffe {
namespace {

// Instruction sets that the implementations tell apart.
const std::set<std::string> kTelling = {
    "sse4_1",      "sse4_2",      "avx",      "avx2",     "fma",      "f16c",
    "avx_vnni",    "avx512f",     "avx512bw", "avx512vl", "avx512dq", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16"};

struct Processor {
  std::string name = "unknown";
  std::string features;
  int logical = 0;
  std::set<std::string> sockets;
  std::set<std::pair<std::string, std::string>> cores;  // socket, core
};

Processor read_processor() {
  Processor processor;
  std::ifstream info("/proc/cpuinfo");
  std::string socket;
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (key == "model name") processor.name = value;
    if (key == "processor") ++processor.logical;
    if (key == "physical id") processor.sockets.insert(socket = value);
    if (key == "core id") processor.cores.insert({socket, value});
    if (key != "flags" || !processor.features.empty()) continue;
    std::istringstream words(value);
    for (std::string word; words >> word;) {
      if (kTelling.count(word) > 0)
        processor.features += (processor.features.empty() ? "" : " ") + word;
    }
  }
  return processor;
}

double total_memory() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

std::string gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f GiB", bytes / (1 << 30));
  return text;
}

int usable_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof(allowed), &allowed) == 0
             ? CPU_COUNT(&allowed)
             : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

void device_query(const Flags& flags) {
  refuse_gpu(flags);
  const Processor processor = read_processor();
  std::cout << "Device: CPU\nName: " << processor.name
            << "\nInstruction sets: " << processor.features
            << "\nComputes in bf16: " << (supports(Precision::kBF16) ? "yes" : "no")
            << "\nSockets: " << processor.sockets.size() << "\nCores: " << processor.cores.size()
            << "\nHardware threads: " << processor.logical
            << "\nHardware threads for this process: " << usable_processors()
            << "\nMemory: " << gibibytes(total_memory())
            << "\nMemory for this process: " << gibibytes(static_cast<double>(available_memory()))
            << "\n";
}

const char* const kAbout =
    "Prints what nets can run on: the processor, the instruction sets by which implementations "
    "are chosen, whether nets can compute in bf16, how many cores this process may use, and how "
    "much memory there is.\n"
    "\n"
    "example:\n"
    "caffe device_query";

}  // namespace

Command device_query_command() {
  return {"shows what nets can run on", kAbout, add_gpu_flag, device_query};
}

}  // namespace caffe

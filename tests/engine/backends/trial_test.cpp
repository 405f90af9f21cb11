#include "backends/cpu/onednn/trial.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

#include "backends/cpu/onednn/trial_cache.h"
#include "backends/cpu/precision.h"
#include "core/log.h"
#include "engine/backends/small_net.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

namespace fs = std::filesystem;

using onednn::trials_made;
using ::testing::HasSubstr;
using ::testing::Not;

// An environment variable for as long as the object lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() {
    if (before_) {
      set(*before_);
    } else {
      ::unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  void set(const std::string& value) { ::setenv(name_, value.c_str(), 1); }
  void unset() { ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// What was logged while it lives.
class Log {
 public:
  Log() {
    set_log_sink([this](Severity severity, const char*, int, const std::string& text) {
      (severity == Severity::kInfo ? infos : warnings).push_back(text);
    });
  }
  ~Log() { set_log_sink(nullptr); }

  std::vector<std::string> infos, warnings;
};

struct Trial {
  std::vector<std::string> kernels;  // the one that is taken without a trial first
  std::vector<double> milliseconds;
  std::string chosen;
};

// By operation, from lines of the log: "trial of OPERATION: KERNEL 1.5 ms, ...; chosen: KERNEL".
std::map<std::string, Trial> trials_of(const std::vector<std::string>& lines) {
  const std::string start = "trial of ", middle = ": ", end = "; chosen: ";
  std::map<std::string, Trial> all;
  for (const std::string& line : lines) {
    const size_t times = line.find(middle), chosen = line.rfind(end);
    if (!line.starts_with(start) || chosen == line.npos) continue;
    Trial& trial = all[line.substr(start.size(), times - start.size())];
    trial.chosen = line.substr(chosen + end.size());
    std::istringstream words(line.substr(times + middle.size(), chosen - times - middle.size()));
    std::string kernel, unit;
    for (double time = 0; words >> kernel >> time >> unit;) {
      trial.kernels.push_back(kernel);
      trial.milliseconds.push_back(time);
    }
  }
  return all;
}

// The lines of a cache with another text in place of the tab and the kernel.
std::string with_kernels(const std::string& cache, const std::string& text) {
  std::istringstream lines(cache);
  std::string all;
  for (std::string line; std::getline(lines, line);)
    all += line.substr(0, line.find('\t')) + text + '\n';
  return all;
}

const char kConvolution[] =
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' "
    "convolution_param { num_output: 32 kernel_size: 1 } }";
const std::map<std::string, Shape> kImages = {{"x", {2, 64, 14, 14}}};
const char kInnerProduct[] =
    "layer { name: 'c' type: 'InnerProduct' bottom: 'x' top: 'y' "
    "inner_product_param { num_output: 48 } }";
const std::map<std::string, Shape> kRows = {{"x", {16, 80}}};

SmallNet::Options by_onednn() { return {.backend = "onednn"}; }

std::string plan(const std::string& prototxt, const std::map<std::string, Shape>& inputs) {
  SmallNet net(prototxt, inputs, by_onednn());
  return net.implementation(0).details();
}

class TrialTest : public ::testing::Test {
 protected:
  TrialTest() : wanted_("CAFFE_TRIAL", "1"), caches_("XDG_CACHE_HOME", scratch_.path()) {}

  // The one file below a folder for caches; empty where there is none.
  static std::string file_in(const std::string& folder) {
    std::string path;
    const std::string ours = folder + "/caffeonspark";
    if (!fs::exists(ours)) return path;
    for (const auto& entry : fs::directory_iterator(ours)) {
      EXPECT_EQ(path, "") << "a second file, " << entry.path();
      path = entry.path().string();
    }
    return path;
  }
  std::string content() const { return read_file(file_in(scratch_.path())); }

  // From now on another folder, with this in its file: as after a new start of the process.
  std::string start_anew(const std::string& content) {
    if (name_.empty()) {
      plan(kConvolution, kImages);
      name_ = fs::path(file_in(scratch_.path())).filename().string();
    }
    const std::string folder = scratch_.path("again" + std::to_string(++folders_));
    fs::create_directories(folder + "/caffeonspark");
    write_file(folder + "/caffeonspark/" + name_, content);
    caches_.set(folder);
    return folder + "/caffeonspark/" + name_;
  }

  Scratch scratch_;
  Variable wanted_, caches_;
  std::string name_;
  int folders_ = 0;
};

TEST_F(TrialTest, NothingIsTriedUnlessAskedFor) {
  const int64_t before = trials_made();
  for (const char* value : {"", "0", "unset"}) {
    wanted_.set(value);
    if (std::string(value) == "unset") wanted_.unset();
    EXPECT_THAT(plan(kConvolution, kImages), Not(HasSubstr("trial"))) << value;
    EXPECT_THAT(plan(kInnerProduct, kRows), Not(HasSubstr("trial"))) << value;
  }
  EXPECT_EQ(trials_made(), before);
  EXPECT_TRUE(fs::is_empty(scratch_.path()));
}

TEST_F(TrialTest, ThePlanTellsWhatWasChosen) {
  Log log;
  const std::string details = plan(kConvolution, kImages);
  const auto trials = trials_of(log.infos);
  ASSERT_FALSE(trials.empty());
  for (const auto& [operation, trial] : trials)
    EXPECT_THAT(details, HasSubstr(trial.chosen + " by trial")) << operation;
}

TEST(Winner, IsAnotherThanTheFirstOnlyWhereClearlyFaster) {
  EXPECT_EQ(onednn::winner({1}), 0u);
  EXPECT_EQ(onednn::winner({1, 2, 3}), 0u);
  EXPECT_EQ(onednn::winner({1, 0.96}), 0u);
  EXPECT_EQ(onednn::winner({1, 0.94}), 1u);
  EXPECT_EQ(onednn::winner({1, 0.94, 0.93, 2}), 2u);
}

TEST_F(TrialTest, OnlyAClearlyFasterKernelIsTaken) {
  Log log;
  for (const int64_t size : {7, 14, 28}) plan(kConvolution, {{"x", {2, 64, size, size}}});
  plan(kInnerProduct, kRows);
  const auto trials = trials_of(log.infos);
  ASSERT_FALSE(trials.empty());
  for (const auto& [operation, trial] : trials) {
    ASSERT_GE(trial.kernels.size(), 2u) << operation;
    const auto& times = trial.milliseconds;
    const auto best = std::min_element(times.begin(), times.end());
    const auto chosen = std::find(trial.kernels.begin(), trial.kernels.end(), trial.chosen);
    ASSERT_NE(chosen, trial.kernels.end()) << operation;
    if (*best > 0.95 * times[0] + 0.001) {  // the log rounds
      EXPECT_EQ(trial.chosen, trial.kernels[0]) << operation;
    } else if (*best < 0.95 * times[0] - 0.001) {
      EXPECT_LE(times[static_cast<size_t>(chosen - trial.kernels.begin())], *best + 0.001)
          << operation;
    }
  }
}

TEST_F(TrialTest, PlanningTriesAndStepsDoNot) {
  const int64_t before = trials_made();
  SmallNet net(kConvolution, kImages, by_onednn());
  const int64_t planned = trials_made();
  EXPECT_GT(planned, before);
  net.forward();
  net.set_gradient("y", 1);
  net.backward();
  EXPECT_EQ(trials_made(), planned);
  plan(kConvolution, kImages);
  EXPECT_EQ(trials_made(), planned) << "what is known was tried again";
}

struct Case {
  std::string prototxt;
  std::map<std::string, Shape> inputs;
  SmallNet::Options options;
};

std::vector<Case> cases() {
  const std::string relu = " layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";
  const std::string scale =
      " layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' scale_param { bias_term: true } }";
  const std::string groups =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' "
      "convolution_param { num_output: 32 kernel_size: 3 stride: 2 pad: 1 group: 2 } }";
  const std::string deconvolution =
      "layer { name: 'c' type: 'Deconvolution' bottom: 'x' top: 'y' "
      "convolution_param { num_output: 32 kernel_size: 3 stride: 2 } }";
  SmallNet::Options inference{.phase = TEST, .backward = false, .fuse = true, .unobserved = true};
  std::vector<Case> all = {{kConvolution, kImages, {}},
                           {kConvolution + relu, kImages, {.fuse = true}},
                           {kConvolution + scale + relu, kImages, inference},
                           {groups, kImages, {}},
                           {deconvolution, kImages, {}},
                           {kInnerProduct, kRows, {}},
                           {kInnerProduct + relu, kRows, {.fuse = true}}};
  if (supports(Precision::kBF16)) {
    all.push_back({kConvolution, kImages, {.precision = Precision::kBF16, .values = "integers"}});
    all.push_back({kInnerProduct, kRows, {.precision = Precision::kBF16, .values = "integers"}});
  }
  return all;
}

// Each kernel that could win, as the choice of an earlier trial.
TEST_F(TrialTest, EveryCandidateGivesTheSameResults) {
  size_t exchanged = 0;
  for (const Case& each : cases()) {
    SCOPED_TRACE(each.prototxt);
    start_anew("");
    Log log;
    expect_equal_to_portable(each.prototxt, each.inputs, {"y"}, each.options);
    const auto trials = trials_of(log.infos);
    size_t most = 0;
    for (const auto& [operation, trial] : trials) most = std::max(most, trial.kernels.size());
    for (size_t k = 0; k < most; ++k) {
      std::string content;
      std::vector<std::string> chosen;
      for (const auto& [operation, trial] : trials) {
        chosen.push_back(trial.kernels[std::min(k, trial.kernels.size() - 1)]);
        content += operation + "\t" + chosen.back() + "\n";
        exchanged += chosen.back() != trial.kernels[0];
      }
      start_anew(content);
      const int64_t before = trials_made();
      expect_equal_to_portable(each.prototxt, each.inputs, {"y"}, each.options);
      EXPECT_EQ(trials_made(), before);
      SmallNet::Options options = each.options;
      options.backend = "onednn";
      SmallNet net(each.prototxt, each.inputs, options);
      for (const std::string& kernel : chosen)
        EXPECT_THAT(net.implementation(0).details(), HasSubstr(kernel));
    }
  }
  EXPECT_GT(exchanged, 0u);
}

TEST_F(TrialTest, TheFileSparesTheNextProcessTheTrials) {
  plan(kConvolution, kImages);
  const std::string found = content();
  ASSERT_NE(found, "");
  const std::string path = start_anew(found);
  const int64_t before = trials_made();
  EXPECT_THAT(plan(kConvolution, kImages), HasSubstr("by trial"));
  EXPECT_EQ(trials_made(), before);
  EXPECT_EQ(read_file(path), found);
}

TEST_F(TrialTest, ADamagedFileIsMadeAnew) {
  plan(kConvolution, kImages);
  const std::string whole = content();
  const size_t lines = static_cast<size_t>(std::count(whole.begin(), whole.end(), '\n'));
  ASSERT_GT(lines, 0u);
  std::string without_tabs = whole;
  std::replace(without_tabs.begin(), without_tabs.end(), '\t', ' ');
  for (const std::string& damaged :
       {std::string(), std::string("\0\xff\t\n\t\n", 6), without_tabs,
        with_kernels(whole, "\t\tno_such_kernel"), with_kernels(whole, "\tno_such_kernel"),
        with_kernels(whole, "\t")}) {
    const std::string path = start_anew(damaged);
    const int64_t before = trials_made();
    expect_equal_to_portable(kConvolution, kImages, {"y"});
    EXPECT_EQ(trials_made() - before, static_cast<int64_t>(lines)) << damaged;
    const std::string again = read_file(path);
    EXPECT_EQ(static_cast<size_t>(std::count(again.begin(), again.end(), '\n')), lines) << again;
    EXPECT_THAT(again, Not(HasSubstr("no_such_kernel")));
  }
}

TEST_F(TrialTest, ATruncatedFileKeepsWhatIsWhole) {
  plan(kConvolution, kImages);
  const std::string whole = content();
  const std::string path = start_anew(whole.substr(0, whole.size() - 4));
  const int64_t before = trials_made();
  plan(kConvolution, kImages);
  EXPECT_EQ(trials_made() - before, 1);
}

TEST_F(TrialTest, WithoutAFolderForItNothingIsKeptAndOneLineSaysSo) {
  write_file(scratch_.path("file"), "");
  caches_.set(scratch_.path("file"));
  Log log;
  const int64_t before = trials_made();
  expect_equal_to_portable(kConvolution, kImages, {"y"});
  plan(kConvolution, {{"x", {2, 64, 7, 7}}});
  EXPECT_GT(trials_made() - before, 1);
  ASSERT_EQ(log.warnings.size(), 1u);
  EXPECT_THAT(log.warnings[0], HasSubstr("cannot write " + scratch_.path("file")));
  EXPECT_EQ(read_file(scratch_.path("file")), "");
}

TEST_F(TrialTest, AFolderInPlaceOfTheFileDoesNoHarm) {
  const std::string path = start_anew("");
  fs::remove(path);
  fs::create_directory(path);
  Log log;
  expect_equal_to_portable(kConvolution, kImages, {"y"});
  EXPECT_EQ(log.warnings.size(), 1u);
  EXPECT_EQ(file_in(fs::path(path).parent_path().parent_path().string()), path)
      << "something was left beside it";
}

TEST(TrialCache, WritersAtTheSameTimeLeaveAWholeFile) {
  const Scratch scratch;
  const std::string path = scratch.path("sub/kernels.txt");
  std::vector<std::thread> writers;
  for (int k = 0; k < 4; ++k) {
    writers.emplace_back([&, k] {
      onednn::TrialCache cache(path);
      for (int i = 0; i < 50; ++i) {
        const std::string name = std::to_string(k) + "-" + std::to_string(i);
        cache.add("operation " + name, "kernel " + name);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::istringstream lines(read_file(path));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const size_t tab = line.find('\t');
    ASSERT_NE(tab, line.npos) << line;
    EXPECT_EQ("kernel " + line.substr(10, tab - 10), line.substr(tab + 1));
  }
  EXPECT_GE(count, 50);  // of the one who wrote last, at least
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path("sub")), fs::directory_iterator()),
            1);
}

TEST(TrialCache, TakesOverWhatOthersFound) {
  const Scratch scratch;
  const std::string path = scratch.path("kernels.txt");
  onednn::TrialCache one(path), other(path);
  one.add("a", "x");
  other.add("b", "y");
  one.add("a", "z");
  const onednn::TrialCache third(path);
  EXPECT_EQ(third.find("a"), "z");
  EXPECT_EQ(third.find("b"), "y");
  EXPECT_EQ(third.find("c"), "");
}

}  // namespace
}  // namespace caffe::testing

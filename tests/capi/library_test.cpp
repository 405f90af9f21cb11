#include <gmock/gmock.h>

#include <cstring>
#include <mutex>
#include <thread>

#include "capi/handles.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

int parse(const char* kind, const char* text) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  const int status = caffe_parse_text(kind, text, "my.prototxt", &bytes, &size);
  caffe_bytes_free(bytes);
  return status;
}

TEST(Library, HasAVersion) { EXPECT_GT(std::strlen(caffe_version()), 0u); }

TEST(Library, RemembersTheErrorPerThread) {
  EXPECT_EQ(parse("net", "nonsense"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("my.prototxt"));
  std::thread([] { EXPECT_STREQ(caffe_last_error(), ""); }).join();
}

TEST(ParseText, NamesFileLineAndColumn) {
  EXPECT_EQ(parse("net", "name: 'a'\nlayer { name: 'x' tipe: 'ReLU' }"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("my.prototxt:2:"), HasSubstr("tipe")));
  EXPECT_EQ(parse("solver", "base_lr: 'fast'"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("my.prototxt:1:"));
}

TEST(ParseText, RefusesOtherKindsAndNull) {
  EXPECT_EQ(parse("datum", ""), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("datum"));
  EXPECT_EQ(parse("net", nullptr), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("text is NULL"));
}

TEST(ParseText, UpgradesOldForms) {
  const std::string wire = message("solver", "solver_type: ADAM base_lr: 0.1 net: 'x'");
  EXPECT_THAT(wire, HasSubstr("Adam"));
}

TEST(Free, TakesNull) {
  caffe_strings_free(nullptr);
  caffe_outputs_free(nullptr);
  caffe_source_free(nullptr);
  caffe_comm_free(nullptr);
  caffe_solver_free(nullptr);
  caffe_net_free(nullptr);
  caffe_bytes_free(nullptr);
  caffe_solver_cancel(nullptr);
  caffe_net_cancel(nullptr);
  caffe_comm_abort(nullptr, "x");
}

TEST(Null, IsAnErrorEverywhere) {
  int64_t number = 0;
  caffe_strings* strings = nullptr;
  caffe_outputs* outputs = nullptr;
  caffe_record record{};
  for (const int status :
       {caffe_net_forward(nullptr, &number), caffe_net_blob_count(nullptr, "x", &number),
        caffe_net_blob_read(nullptr, "x", nullptr, 0), caffe_net_output_names(nullptr, &strings),
        caffe_net_record_keys(nullptr, &strings), caffe_solver_step(nullptr, 1, nullptr),
        caffe_solver_test(nullptr, 0, &outputs),
        caffe_solver_snapshot(nullptr, "x", nullptr, nullptr),
        caffe_solver_set_comm(nullptr, nullptr), caffe_source_read(nullptr, 0, &record),
        caffe_net_create(nullptr, 4, 0, "", nullptr),
        caffe_solver_create(nullptr, 4, "", nullptr)}) {
    EXPECT_EQ(status, CAFFE_INVALID_ARGUMENT);
    EXPECT_THAT(caffe_last_error(), HasSubstr("is NULL"));
  }
}

struct Lines {
  std::mutex mutex;
  std::vector<std::string> texts;
};

TEST(Log, GoesToTheCallback) {
  Lines lines;
  caffe_set_log(
      [](int, const char*, int, const char* text, void* user) {
        Lines& all = *static_cast<Lines*>(user);
        std::lock_guard<std::mutex> lock(all.mutex);
        all.texts.emplace_back(text);
      },
      &lines);
  make_net("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }");
  caffe_set_log(nullptr, nullptr);
  EXPECT_THAT(lines.texts, ::testing::Contains(HasSubstr("Network initialization done")));
}

TEST(Source, GivesRecordsInKeyOrder) {
  const Digits digits;
  caffe_source* opened = nullptr;
  must(caffe_source_open("LMDB", digits.train.c_str(), &opened));
  const SourceHandle source(opened);
  EXPECT_EQ(caffe_source_size(source.get()), 60);
  std::string last;
  for (int64_t i = 0; i < 60; ++i) {
    caffe_record record;
    must(caffe_source_read(source.get(), i, &record));
    const std::string key(record.key, record.key_size);
    EXPECT_LT(last, key);
    last = key;
    EXPECT_EQ(record.data_size,
              static_cast<size_t>(record.channels) * record.height * record.width);
    EXPECT_EQ(record.encoded, 0);
    EXPECT_GE(record.label, 0);
    EXPECT_LT(record.label, 10);
  }
  caffe_record record;
  EXPECT_EQ(caffe_source_read(source.get(), 60, &record), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("record 60"), HasSubstr("60 records")));
}

TEST(Source, SaysWhatIsWrong) {
  const Scratch scratch;
  caffe_source* source = nullptr;
  EXPECT_EQ(caffe_source_open("LMDB", scratch.path("none").c_str(), &source), CAFFE_IO);
  EXPECT_THAT(caffe_last_error(), HasSubstr(scratch.path("none")));
  EXPECT_EQ(caffe_source_open("ROCKS", scratch.path().c_str(), &source), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("ROCKS"), HasSubstr("LMDB")));
  EXPECT_EQ(source, nullptr);
}

}  // namespace
}  // namespace caffe::testing

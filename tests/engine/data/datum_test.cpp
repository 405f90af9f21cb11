// The wire parser against protobuf's, on valid and on damaged messages.

#include "data/datum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "proto/caffe.pb.h"

namespace caffe {
namespace {

void expect_same(const std::string& wire) {
  Datum wanted;
  DatumView found;
  ASSERT_EQ(try_parse_datum(wire, found), wanted.ParseFromString(wire))
      << ::testing::PrintToString(wire);
  if (!try_parse_datum(wire, found)) return;
  EXPECT_EQ(found.channels, wanted.channels());
  EXPECT_EQ(found.height, wanted.height());
  EXPECT_EQ(found.width, wanted.width());
  EXPECT_EQ(found.label, wanted.label());
  EXPECT_EQ(found.encoded, wanted.encoded());
  EXPECT_EQ(found.data, wanted.data());
  ASSERT_EQ(found.float_count, wanted.float_data_size());
  std::vector<float> floats(static_cast<size_t>(found.float_count));
  copy_float_data(found, floats.data());
  const char* bytes = reinterpret_cast<const char*>(floats.data());
  EXPECT_EQ(
      std::string(bytes, floats.size() * 4),
      std::string(reinterpret_cast<const char*>(wanted.float_data().data()), floats.size() * 4));
}

Datum random_datum(std::mt19937& random) {
  Datum datum;
  if (random() % 4) datum.set_channels(static_cast<int>(random()));
  if (random() % 4) datum.set_height(static_cast<int>(random() % 300));
  if (random() % 4) datum.set_width(static_cast<int>(random() % 300));
  if (random() % 4) datum.set_label(static_cast<int>(random()) - 5);
  if (random() % 2) datum.set_encoded(random() % 2);
  if (random() % 2) datum.set_data(std::string(random() % 300, 'x'));
  for (unsigned i = random() % 20; i > 0; --i) datum.add_float_data(static_cast<float>(random()));
  return datum;
}

std::string packed_floats(const std::vector<float>& values) {
  std::string wire = "\x32";
  wire.push_back(static_cast<char>(values.size() * 4));
  return wire.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
}

TEST(ParseDatum, AgreesWithProtobufOnMessages) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string wire = random_datum(random).SerializeAsString();
    if (i % 3 == 0) wire += packed_floats({1, 2, 3});  // packed and single values mixed
    if (i % 4 == 0)
      wire += random_datum(random).SerializeAsString();  // fields given twice: the last counts
    if (i % 5 == 0)
      wire +=
          "\x92\x06\x03"
          "abc"
          "\x99\x06"
          "12345678"
          "\x95\x06"
          "1234";                                        // unknown fields
    if (i % 7 == 0) wire += "\x9b\x06\x08\x01\x9c\x06";  // unknown group
    expect_same(wire);
  }
}

TEST(ParseDatum, AgreesWithProtobufOnDamagedMessages) {
  std::mt19937 random(2);
  int refused = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string wire = random_datum(random).SerializeAsString();
    if (wire.empty()) continue;
    if (random() % 3 == 0) wire.resize(random() % wire.size());
    for (unsigned flips = 1 + random() % 3; flips > 0 && !wire.empty(); --flips) {
      wire[random() % std::min<size_t>(wire.size(), 40)] = static_cast<char>(random());
    }
    DatumView view;
    refused += !try_parse_datum(wire, view);
    ASSERT_NO_FATAL_FAILURE(expect_same(wire));
  }
  EXPECT_GT(refused, 10000);
}

TEST(ParseDatum, AgreesWithProtobufOnNoise) {
  std::mt19937 random(3);
  for (int i = 0; i < 200000; ++i) {
    std::string wire(random() % 12, '\0');
    for (char& c : wire) c = static_cast<char>(random() % 2 == 0 ? random() % 64 : random());
    ASSERT_NO_FATAL_FAILURE(expect_same(wire));
  }
}

TEST(ParseDatum, NamesTheRecordThatIsNoDatum) {
  try {
    parse_datum({"00000007", "\xff\xff"}, "train_lmdb");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_THAT(error.message(),
                ::testing::StartsWith("record '00000007' of train_lmdb is no Datum"));
  }
}

}  // namespace
}  // namespace caffe

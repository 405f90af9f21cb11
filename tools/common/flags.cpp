#include "tools/common/flags.h"

#include <charconv>
#include <optional>

#include "core/error.h"

namespace caffe {
namespace {

// The value of a switch as gflags reads it; nothing if it is no such word.
std::optional<std::string> truth(const std::string& word) {
  for (const char* yes : {"true", "t", "yes", "y", "1"}) {
    if (word == yes) return "true";
  }
  for (const char* no : {"false", "f", "no", "n", "0"}) {
    if (word == no) return "false";
  }
  return std::nullopt;
}

}  // namespace

Flags& Flags::add(const std::string& name, const std::string& default_value,
                  const std::string& help) {
  entries_[name] = Entry{default_value, help};
  return *this;
}

Flags& Flags::add_switch(const std::string& name, const std::string& help) {
  entries_[name] = Entry{"false", help, true};
  return *this;
}

void Flags::parse(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      positional_.insert(positional_.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                         arguments.end());
      return;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      positional_.push_back(argument);
      continue;
    }
    const std::string body = argument.substr(argument[1] == '-' ? 2 : 1);
    const size_t equals = body.find('=');
    const std::string name = body.substr(0, equals);
    const auto found = entries_.find(name);
    if (equals != std::string::npos) {
      set(name, body.substr(equals + 1));
    } else if (found != entries_.end() && found->second.is_switch) {
      set(name, "true");
    } else if (found == entries_.end() && name.rfind("no", 0) == 0 &&
               entries_.count(name.substr(2)) > 0 && entries_[name.substr(2)].is_switch) {
      set(name.substr(2), "false");
    } else {
      CAFFE_REQUIRE(found == entries_.end() || i + 1 < arguments.size(), "flag -", name,
                    " needs a value");
      set(name, found == entries_.end() ? "" : arguments[++i]);
    }
  }
}

void Flags::set(const std::string& name, const std::string& value) {
  const auto found = entries_.find(name);
  CAFFE_REQUIRE(found != entries_.end(), "unknown flag -", name, " (flags here: ", names(), ")");
  Entry& entry = found->second;
  entry.given = true;
  entry.value = value;
  if (!entry.is_switch) return;
  const std::optional<std::string> word = truth(value);
  CAFFE_REQUIRE(word, "flag -", name, " is true or false, not \"", value, "\"");
  entry.value = *word;
}

const Flags::Entry& Flags::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  CAFFE_REQUIRE_CODE(found != entries_.end(), ErrorCode::kInternal, "this command has no flag -",
                     name);
  return found->second;
}

int64_t Flags::number(const std::string& name, int64_t least) const {
  const std::string& word = text(name);
  int64_t value = 0;
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  CAFFE_REQUIRE(error == std::errc() && stop == end && value >= least, "flag -", name,
                " is a whole number of at least ", least, ", not \"", word, "\"");
  return value;
}

std::vector<std::string> Flags::list(const std::string& name) const {
  std::vector<std::string> parts;
  const std::string& all = text(name);
  for (size_t begin = 0; begin <= all.size();) {
    const size_t comma = std::min(all.find(',', begin), all.size());
    if (comma > begin) parts.push_back(all.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

std::string Flags::names() const {
  std::string all;
  for (const auto& entry : entries_) all += (all.empty() ? "-" : ", -") + entry.first;
  return all;
}

std::string Flags::help() const {
  std::string text;
  for (const auto& [name, entry] : entries_) {
    text += "  -" + name + std::string(name.size() < 16 ? 17 - name.size() : 1, ' ') + entry.help;
    if (!entry.is_switch && !entry.value.empty()) text += " (default: " + entry.value + ")";
    text += "\n";
  }
  return text;
}

}  // namespace caffe

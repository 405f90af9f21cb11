#include "tools/common/flags.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

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

Flags& Flags::add(const std::string& name, const std::string& value,
                  const std::string& default_value, const std::string& help) {
  entries_[name] = Entry{value, default_value, help};
  order_.push_back(name);
  return *this;
}

Flags& Flags::add_switch(const std::string& name, const std::string& help) {
  entries_[name] = Entry{"", "false", help, true};
  order_.push_back(name);
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
    if (body == "help" || body == "h") {
      wants_help_ = true;
      continue;
    }
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
  return parse_number("flag -" + name, text(name), least);
}

std::vector<std::string> Flags::list(const std::string& name) const {
  return split_list(text(name));
}

std::string Flags::names() const {
  std::string all;
  for (const auto& entry : entries_) all += (all.empty() ? "-" : ", -") + entry.first;
  return all;
}

std::string Flags::help() const {
  std::string text;
  for (const std::string& name : order_) {
    const Entry& entry = entries_.at(name);
    text += "  -" + name + (entry.is_switch ? "" : " " + entry.placeholder) + "\n";
    const bool has_default = !entry.is_switch && !entry.value.empty();
    text += wrapped(entry.help + (has_default ? " (default: " + entry.value + ")" : ""), 6, 92);
  }
  return text;
}

int64_t parse_number(const std::string& what, const std::string& word, int64_t least) {
  int64_t value = 0;
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  CAFFE_REQUIRE(error == std::errc() && stop == end && value >= least, what,
                " is a whole number of at least ", least, ", not \"", word, "\"");
  return value;
}

std::vector<std::string> split_list(const std::string& all) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= all.size();) {
    const size_t comma = std::min(all.find(',', begin), all.size());
    if (comma > begin) parts.push_back(all.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

std::string wrapped(const std::string& text, size_t indent, size_t width) {
  std::string lines;
  std::istringstream paragraphs(text);
  for (std::string paragraph; std::getline(paragraphs, paragraph);) {
    std::istringstream words(paragraph);
    std::string line;
    for (std::string word; words >> word;) {
      if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
        lines += std::string(indent, ' ') + line + "\n";
        line.clear();
      }
      line += (line.empty() ? "" : " ") + word;
    }
    lines += (line.empty() ? "" : std::string(indent, ' ') + line) + "\n";
  }
  return lines;
}

}  // namespace caffe

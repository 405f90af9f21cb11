#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace caffe {

// Command-line flags in the forms of gflags: -name value, --name value, -name=value, --name=value;
// for switches also -name and -noname. Everything after "--" and everything without a dash is
// positional. -help, --help and -h are always known. Errors are caffe::Error.
class Flags {
 public:
  Flags() = default;

  // `value` stands for the flag's value in the help text: "FILE".
  Flags& add(const std::string& name, const std::string& value, const std::string& default_value,
             const std::string& help);
  Flags& add_switch(const std::string& name, const std::string& help);

  void parse(const std::vector<std::string>& arguments);

  const std::vector<std::string>& positional() const { return positional_; }
  bool wants_help() const { return wants_help_; }
  // Whether the flag was on the command line.
  bool given(const std::string& name) const { return entry(name).given; }
  const std::string& text(const std::string& name) const { return entry(name).value; }
  bool on(const std::string& name) const { return entry(name).value == "true"; }
  // A whole number, at least `least`.
  int64_t number(const std::string& name, int64_t least) const;
  // The parts of a comma-separated list; none if it is empty.
  std::vector<std::string> list(const std::string& name) const;

  // Every flag with its value, meaning and default, in the order in which they were added.
  std::string help() const;

 private:
  struct Entry {
    std::string placeholder;
    std::string value;
    std::string help;
    bool is_switch = false;
    bool given = false;
  };
  const Entry& entry(const std::string& name) const;
  std::string names() const;
  void set(const std::string& name, const std::string& value);

  std::map<std::string, Entry> entries_;
  std::vector<std::string> order_;
  std::vector<std::string> positional_;
  bool wants_help_ = false;
};

// A whole number, at least `least`; `what` names it in the error.
int64_t parse_number(const std::string& what, const std::string& word, int64_t least);

// The parts of a comma-separated list; none if it is empty.
std::vector<std::string> split_list(const std::string& all);

// `text` in lines of at most `width` characters, each after `indent` blanks. Line ends in the text
// stay.
std::string wrapped(const std::string& text, size_t indent, size_t width);

}  // namespace caffe

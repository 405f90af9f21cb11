#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace caffe {

// Command-line flags in the forms of gflags: -name value, --name value, -name=value, --name=value;
// for switches also -name and -noname. Everything after "--" and everything without a dash is
// positional. Errors are caffe::Error.
class Flags {
 public:
  Flags() = default;

  Flags& add(const std::string& name, const std::string& default_value, const std::string& help);
  Flags& add_switch(const std::string& name, const std::string& help);

  void parse(const std::vector<std::string>& arguments);

  const std::vector<std::string>& positional() const { return positional_; }
  // Whether the flag was on the command line.
  bool given(const std::string& name) const { return entry(name).given; }
  const std::string& text(const std::string& name) const { return entry(name).value; }
  bool on(const std::string& name) const { return entry(name).value == "true"; }
  // A whole number, at least `least`.
  int64_t number(const std::string& name, int64_t least) const;
  // The parts of a comma-separated list; none if it is empty.
  std::vector<std::string> list(const std::string& name) const;

  // One line per flag: name, meaning, default.
  std::string help() const;

 private:
  struct Entry {
    std::string value;
    std::string help;
    bool is_switch = false;
    bool given = false;
  };
  const Entry& entry(const std::string& name) const;
  std::string names() const;
  void set(const std::string& name, const std::string& value);

  std::map<std::string, Entry> entries_;
  std::vector<std::string> positional_;
};

}  // namespace caffe

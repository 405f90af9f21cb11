#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> all = {
      {"train", train_command()},
      {"test", test_command()},
      {"time", time_command()},
      {"plan", plan_command()},
      {"device_query", device_query_command()},
  };
  return all;
}

std::string usage() {
  std::string text = "usage: caffe COMMAND [FLAGS]\n\ncommands:\n";
  for (const auto& [name, command] : commands()) {
    text += "  " + name + std::string(14 - name.size(), ' ') + command.summary + "\n";
  }
  return text + "\n'caffe COMMAND -help' lists the flags of a command.\n";
}

// The command is the first word without a dash that is one: its flags may come before it, as with
// gflags.
std::string command_of(const std::vector<std::string>& arguments) {
  for (const std::string& word : arguments) {
    if (commands().count(word) > 0) return word;
  }
  std::string known;
  for (const auto& entry : commands()) known += (known.empty() ? "" : ", ") + entry.first;
  fail(ErrorCode::kInvalidArgument,
       arguments.empty() ? "no command" : "unknown command " + arguments[0],
       " (known commands: ", known, "); 'caffe -help' says more");
}

void help(const std::string& name, const Command& command, const Flags& flags) {
  std::cout << "usage: caffe " << name << (name == "plan" ? " FILE" : "") << " [flags]\n\n"
            << wrapped(command.about, 2, 92) << "\nflags:\n"
            << flags.help();
}

}  // namespace

void run_command_line(const std::vector<std::string>& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first == "-help" || first == "--help" || first == "-h" || first == "help") {
    std::cout << usage();
    return;
  }
  const std::string name = command_of(arguments);
  const Command& command = commands().at(name);
  Flags flags;
  command.add_flags(&flags);
  add_log_flags(&flags);
  flags.parse(arguments);
  if (flags.wants_help()) {
    help(name, command, flags);
    return;
  }
  const std::vector<std::string>& words = flags.positional();
  CAFFE_REQUIRE(!words.empty() && words[0] == name, "the command comes first: caffe ", name,
                " [FLAGS]");
  CAFFE_REQUIRE(words.size() <= (name == "plan" ? 2u : 1u), "caffe ", name,
                " does not know what to do with \"", words.back(), "\"");
  apply_log_flags(flags);
  command.run(flags);
}

}  // namespace caffe

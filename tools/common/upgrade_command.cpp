#include "tools/common/upgrade_command.h"

#include <iostream>

#include "tools/common/command.h"

namespace caffe {

int run_upgrade(
    const std::string& program, const std::string& kind, int argc, char** argv,
    const std::function<void(const std::string& from, const std::string& to)>& upgrade) {
  const std::string about =
      "Reads a " + kind +
      " in any form that a version of Caffe ever had and writes it in today's. A file that needs "
      "no upgrade is written as it is. The engine reads the old forms, too: this is for those who "
      "want to go on with the new file.";
  return run_program({program, "old_file new_file", about, Flags(), program + " old new"}, argc,
                     argv, [&](const Flags& flags) {
                       const auto& files = flags.positional();
                       upgrade(files[0], files[1]);
                       std::cout << "Wrote " << files[1] << "\n";
                     });
}

}  // namespace caffe

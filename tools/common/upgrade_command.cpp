#include "tools/common/upgrade_command.h"

#include <iostream>

#include "core/error.h"
#include "tools/common/command.h"
#include "tools/common/flags.h"

namespace caffe {

int run_upgrade(
    const std::string& program, const std::string& kind, int argc, char** argv,
    const std::function<void(const std::string& from, const std::string& to)>& upgrade) {
  return run_command(program, [&] {
    Flags flags;
    flags.add_switch("help", "show this text");
    add_log_flags(&flags);
    flags.parse({argv + 1, argv + argc});
    if (flags.on("help")) {
      std::cout << "usage: " << program << " [flags] old_file new_file\n  reads a " << kind
                << " in any form that a version of Caffe ever had and writes it in today's;\n"
                   "  a file that needs no upgrade is written as it is\n"
                << flags.help();
      return;
    }
    const auto& files = flags.positional();
    CAFFE_REQUIRE(files.size() == 2, "found ", files.size(),
                  " file names, expected old_file new_file; -help tells more");
    apply_log_flags(flags);
    upgrade(files[0], files[1]);
    std::cout << "Wrote " << files[1] << "\n";
  });
}

}  // namespace caffe

#pragma once

#include <functional>
#include <string>

namespace caffe {

// Main of the programs that bring one file into today's form: reads the flags, then calls
// `upgrade` with the two file names of the command line. `kind` names the files in the help text.
int run_upgrade(const std::string& program, const std::string& kind, int argc, char** argv,
                const std::function<void(const std::string& from, const std::string& to)>& upgrade);

}  // namespace caffe

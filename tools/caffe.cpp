// The `caffe` command: trains, tests and times nets, and shows what the engine makes of them. Each
// command is a file of tools/commands/.

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "layers/layer.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

// A net has a layer written in Python, and this program holds no interpreter.
struct PythonNeeded : Error {
  using Error::Error;
};

std::unique_ptr<Layer> python_layer(const LayerParameter& param, const RunContext&) {
  throw PythonNeeded(
      ErrorCode::kInvalidArgument,
      concat("[layer ", param.name(), " (Python)] is written in Python, which this program runs ",
             "as the command of the Python package and with -workers 1 only"));
}

[[maybe_unused]] const bool registered = LayerRegistry::add("Python", &python_layer);

// The same command in the interpreter of the Python package, whose launcher names it; nothing has
// been computed or written before the net stands. Returns where that cannot be.
void start_over_in_python(char** argv) {
  const char* interpreter = std::getenv("CAFFE_PYTHON");
  if (interpreter == nullptr) return;
  std::string program = interpreter, option = "-m", module = "caffe";
  std::vector<char*> arguments = {program.data(), option.data(), module.data()};
  for (char** word = argv + 1; *word != nullptr; ++word) arguments.push_back(*word);
  arguments.push_back(nullptr);
  execv(interpreter, arguments.data());
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  caffe::start_with_passive_threads(argv);
  return caffe::run_command("caffe", [&] {
    try {
      caffe::run_command_line(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const caffe::PythonNeeded&) {
      caffe::start_over_in_python(argv);
      throw;
    }
  });
}

// Brings a solver's prototxt into today's form.

#include "io/files.h"
#include "io/prototxt.h"
#include "net/upgrade.h"
#include "tools/common/upgrade_command.h"

int main(int argc, char** argv) {
  return caffe::run_upgrade("upgrade_solver_proto_text", "solver (prototxt)", argc, argv,
                            [](const std::string& from, const std::string& to) {
                              caffe::SolverParameter solver;
                              caffe::parse_text(caffe::read_file(from), from, &solver);
                              caffe::upgrade_solver(from, &solver);
                              caffe::write_file(to, caffe::print_text(solver));
                            });
}

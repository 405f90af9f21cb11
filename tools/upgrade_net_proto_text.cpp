// Brings a net's prototxt into today's form.

#include "io/files.h"
#include "io/prototxt.h"
#include "tools/common/upgrade_command.h"

int main(int argc, char** argv) {
  return caffe::run_upgrade("upgrade_net_proto_text", "net (prototxt)", argc, argv,
                            [](const std::string& from, const std::string& to) {
                              caffe::write_file(to, caffe::print_text(caffe::read_net(from)));
                            });
}

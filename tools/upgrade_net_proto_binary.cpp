// Brings a model (.caffemodel) into today's form.

#include "io/files.h"
#include "net/upgrade.h"
#include "tools/common/upgrade_command.h"

int main(int argc, char** argv) {
  return caffe::run_upgrade("upgrade_net_proto_binary", "model (.caffemodel)", argc, argv,
                            [](const std::string& from, const std::string& to) {
                              caffe::NetParameter net;
                              caffe::read_message(from, "model", &net);
                              caffe::upgrade_net(from, &net);
                              caffe::write_message(to, net);
                            });
}

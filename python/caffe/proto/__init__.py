"""The messages of Caffe: caffe_pb2, generated from engine/proto/caffe.proto when the package is built."""

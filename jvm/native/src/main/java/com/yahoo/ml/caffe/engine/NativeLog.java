package com.yahoo.ml.caffe.engine;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where the engine's log lines arrive, from any native thread. */
final class NativeLog {
  private static final Logger LOG = LoggerFactory.getLogger("caffe");
  private static final int WARNING = 1;

  private NativeLog() {}

  /** Called by the native side. */
  static void write(int severity, String file, int line, String text) {
    if (severity < WARNING) {
      LOG.info("{}:{}] {}", file, line, text);
    } else if (severity == WARNING) {
      LOG.warn("{}:{}] {}", file, line, text);
    } else {
      LOG.error("{}:{}] {}", file, line, text);
    }
  }
}

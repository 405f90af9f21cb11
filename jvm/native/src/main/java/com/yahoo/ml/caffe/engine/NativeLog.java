package com.yahoo.ml.caffe.engine;

import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where the engine's log lines arrive, from any native thread. */
public final class NativeLog {
  private static final Logger LOG = LoggerFactory.getLogger("caffe");
  private static final int WARNING = 1;
  private static final Set<String> WORKERS = new ConcurrentSkipListSet<>();

  private NativeLog() {}

  /**
   * From now on lines begin with this name, such as "worker 1 on host a"; of several workers in a process with all their
   * names, as a line does not tell whose it is.
   */
  public static void add(String worker) {
    WORKERS.add(worker);
  }

  public static void remove(String worker) {
    WORKERS.remove(worker);
  }

  /** Called by the native side. */
  static void write(int severity, String file, int line, String text) {
    String all = String.join(", ", WORKERS);
    String whole = (all.isEmpty() ? "" : all + ": ") + file + ":" + line + "] " + text;
    if (severity < WARNING) {
      LOG.info(whole);
    } else if (severity == WARNING) {
      LOG.warn(whole);
    } else {
      LOG.error(whole);
    }
  }
}

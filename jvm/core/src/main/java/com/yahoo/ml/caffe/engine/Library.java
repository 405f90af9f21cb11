package com.yahoo.ml.caffe.engine;

import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads the native engine into this class loader, once. */
public final class Library {
  /** System property: a folder that holds the libraries; they are then not unpacked from the jar. */
  public static final String DIRECTORY_PROPERTY = "caffe.native.dir";

  static final String ENGINE = "libcaffeonspark.so";
  static final String ENVIRONMENT = "libcaffeonspark_env.so";

  private static final Logger LOG = LoggerFactory.getLogger(Library.class);
  private static boolean loaded;

  private Library() {}

  /** @throws UnsatisfiedLinkError if the engine does not run on this machine, or a library is missing */
  public static synchronized void load() {
    if (loaded) {
      return;
    }
    Path folder = NativeFiles.locate(Library.class.getClassLoader(), System.getProperty(DIRECTORY_PROPERTY));
    // Threads that wait for work must sleep: on a small executor, spinning ones would take the cores that
    // network and decoding need. OpenMP reads the setting while it is loaded, so it comes first.
    NativeFiles.load(folder, ENVIRONMENT);
    Environment.setDefault("OMP_WAIT_POLICY", "passive");
    NativeFiles.load(folder, ENGINE);
    Native.forwardLog();
    loaded = true;
    LOG.info("Caffe engine {} from {}", Native.version(), folder);
  }

  public static String version() {
    load();
    return Native.version();
  }
}

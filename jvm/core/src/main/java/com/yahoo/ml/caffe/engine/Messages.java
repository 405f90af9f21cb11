package com.yahoo.ml.caffe.engine;

import java.io.IOException;

/** Text forms of the engine's messages. */
public final class Messages {
  private Messages() {}

  /** The serialised NetParameter of a text; errors say "name:line:column: ...". */
  public static byte[] parseNet(byte[] text, String name) throws IOException {
    Library.load();
    return Native.parseText("net", text, name);
  }

  /** The serialised SolverParameter of a text. */
  public static byte[] parseSolver(byte[] text, String name) throws IOException {
    Library.load();
    return Native.parseText("solver", text, name);
  }
}

package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * The functions of capi/caffe_c.h, one to one. Handles are addresses; the classes Solver, Net, Communicator and
 * RecordSource own them. A failing call throws IllegalArgumentException (wrong argument or configuration), IOException
 * (a file cannot be used, or its content is wrong), CommunicationException, CancelledException or CaffeException.
 */
final class Native {
  private Native() {}

  static native String version();

  /** Sends the engine's log lines to NativeLog from now on. */
  static native void forwardLog();

  static native byte[] parseText(String kind, byte[] text, String name) throws IOException;

  static native long sourceOpen(String backend, String path) throws IOException;

  static native long sourceSize(long source);

  /**
   * Reads record `index`. header receives channels, height, width, label, encoded (0 or 1); key[0] the key. Raw
   * images come as height x width x channels bytes; null for a record of floats.
   */
  static native byte[] sourceRead(long source, long index, int[] header, String[] key) throws IOException;

  static native void sourceFree(long source);

  static native long rowsCreate(String path, String name) throws IOException;

  /** The first `size` bytes of a direct buffer: whole rows. */
  static native void rowsAppend(long rows, java.nio.ByteBuffer bytes, int size) throws IOException;

  static native long rowsFinish(long rows) throws IOException;

  static native void rowsFree(long rows);

  static native long commCreate(String options) throws IOException;

  static native String commAddress(long comm);

  static native void commConnect(long comm, int rank, int world, String[] addresses, byte[] secret, String epoch,
      long configHash, long timeoutMillis) throws IOException;

  static native void commAbort(long comm, String reason);

  static native void commFree(long comm);

  static native long solverCreate(byte[] solver, String options) throws IOException;

  static native long solverConfigHash(long solver);

  static native void solverSetComm(long solver, long comm) throws IOException;

  static native long solverIter(long solver);

  static native long solverMaxIter(long solver);

  /** progress receives the fields of caffe_progress in their order. */
  static native void solverStep(long solver, long iterations, double[] progress) throws IOException;

  static native int solverTestNets(long solver);

  /** {String[] names, float[][] values}. */
  static native Object[] solverTest(long solver, int index) throws IOException;

  static native String[] solverTestOutputNames(long solver, int index) throws IOException;

  /** {String[] names, float[][] {forward, backward}}. */
  static native Object[] solverLayerTimes(long solver) throws IOException;

  static native void solverKeepState(long solver) throws IOException;

  static native void solverSnapshot(long solver, String model, String state, String learnedNet) throws IOException;

  static native void solverCancel(long solver);

  static native void solverFree(long solver);

  static native long netCreate(byte[] net, int phase, String options) throws IOException;

  static native String[] netOutputNames(long net) throws IOException;

  static native String[] netBlobNames(long net) throws IOException;

  /** Returns the number of rows. */
  static native long netFeed(long net, String layer, String path) throws IOException;

  static native long netForward(long net) throws IOException;

  static native String[] netRecordKeys(long net) throws IOException;

  static native float[] netBlobRead(long net, String blob) throws IOException;

  static native void netCancel(long net);

  static native void netFree(long net);

  static native String[] netInputNames(long net) throws IOException;

  static native long[] netBlobShape(long net, String blob) throws IOException;

  /** `values` is a direct buffer of floats in native byte order. */
  static native void netSetInput(long net, String blob, long[] shape, ByteBuffer values) throws IOException;

  static native void netShare(long net, long other) throws IOException;

  static native long transformerCreate(byte[] param, String options) throws IOException;

  /** Extents are channels, height, width. */
  static native void transformerOutput(long transformer, int[] in, int[] out) throws IOException;

  /** The results go into a direct buffer, from float number `offset` on. */
  static native void transformerEncoded(long transformer, byte[] bytes, int[] expected, ByteBuffer out, long offset)
      throws IOException;

  static native void transformerPixels(long transformer, byte[] bytes, int[] extents, int[] expected, ByteBuffer out,
      long offset) throws IOException;

  static native void transformerValues(long transformer, float[] values, int[] extents, int[] expected, ByteBuffer out,
      long offset) throws IOException;

  static native void transformerFree(long transformer);

  /** Returns the pixels; `extents` gets channels, height, width. */
  static native byte[] imageDecode(byte[] file, int channels, int[] extents) throws IOException;

  /** Returns the new pixels; `extents`, which are those of the old, change. */
  static native byte[] imageResize(byte[] pixels, int[] extents, int height, int width) throws IOException;
}

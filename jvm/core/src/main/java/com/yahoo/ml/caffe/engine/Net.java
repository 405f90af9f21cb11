package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;

/** A network that answers records batch by batch. */
public final class Net extends Handle {
  public static final int TRAIN = 0;
  public static final int TEST = 1;

  private Net(long address) {
    super(address);
  }

  /** `net` is a serialised NetParameter; the options are those of caffe_net_create. */
  public static Net create(byte[] net, int phase, Map<String, String> options) throws IOException {
    Library.load();
    return new Net(Native.netCreate(net, phase, Options.text(options)));
  }

  public String[] outputNames() throws IOException {
    return Native.netOutputNames(address());
  }

  public String[] blobNames() throws IOException {
    return Native.netBlobNames(address());
  }

  /**
   * A net created with the option feed: the next batches hold the rows of a finished RowFile, each once. Returns their
   * number.
   */
  public long feed(String layer, String path) throws IOException {
    return Native.netFeed(address(), layer, path);
  }

  /** Runs the next batch; returns its number of records, 0 after the last one. */
  public long forward() throws IOException {
    return Native.netForward(address());
  }

  /** Keys of the records of the last batch. */
  public String[] recordKeys() throws IOException {
    return Native.netRecordKeys(address());
  }

  /** A blob after the last batch, row-major. */
  public float[] read(String blob) throws IOException {
    return Native.netBlobRead(address(), blob);
  }

  /** Blobs of Input layers, which `setInput` fills. */
  public String[] inputNames() throws IOException {
    return Native.netInputNames(address());
  }

  /** A blob's extents, outermost first. */
  public long[] shape(String blob) throws IOException {
    return Native.netBlobShape(address(), blob);
  }

  /** Copies values of this shape, floats in native byte order in a direct buffer, into an input. */
  public void setInput(String blob, long[] shape, ByteBuffer values) throws IOException {
    Native.netSetInput(address(), blob, shape, values);
  }

  /** From now on this net uses the parameters of `other`; both may then run at once, and be closed in any order. */
  public void share(Net other) throws IOException {
    Native.netShare(address(), other.address());
  }

  /** Any thread: the running call and all later ones end with CancelledException. */
  public void cancel() {
    ifOpen(Native::netCancel);
  }

  @Override
  void free(long address) {
    Native.netFree(address);
  }
}

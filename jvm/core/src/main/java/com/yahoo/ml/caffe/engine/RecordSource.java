package com.yahoo.ml.caffe.engine;

import java.io.IOException;

/** The records of an LMDB or LevelDB folder, numbered in key order. */
public final class RecordSource extends Handle {
  private final int[] header = new int[5];
  private final String[] key = new String[1];

  private RecordSource(long address) {
    super(address);
  }

  /** `backend` is "LMDB" or "LEVELDB". */
  public static RecordSource open(String backend, String path) throws IOException {
    Library.load();
    return new RecordSource(Native.sourceOpen(backend, path));
  }

  public long size() {
    return Native.sourceSize(address());
  }

  /** Record `index`, 0 <= index < size(). */
  public ImageRecord read(long index) throws IOException {
    byte[] data = Native.sourceRead(address(), index, header, key);
    if (data == null) {
      throw new IOException("record " + key[0] + " holds floats, not the bytes of an image");
    }
    return new ImageRecord(key[0], header[3], header[0], header[1], header[2], header[4] != 0, data);
  }

  @Override
  void free(long address) {
    Native.sourceFree(address);
  }
}

package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.nio.ByteBuffer;

/** Writes a file of rows that data layers read (engine/data/row_file.h). */
public final class RowFile extends Handle {
  private static final int BUFFER_BYTES = 1 << 20;

  private ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);

  private RowFile(long address) {
    super(address);
  }

  /** Replaces the file `path`; `name` stands for the rows in messages. */
  public static RowFile create(String path, String name) throws IOException {
    Library.load();
    return new RowFile(Native.rowsCreate(path, name));
  }

  /** One row as it stands in the file: order, sizes, key and value. Rows are read in ascending order. */
  public void append(byte[] row) throws IOException {
    if (row.length > buffer.remaining()) {
      flush();
    }
    if (row.length > buffer.capacity()) {
      buffer = ByteBuffer.allocateDirect(row.length);
    }
    buffer.put(row);
  }

  private void flush() throws IOException {
    Native.rowsAppend(address(), buffer, buffer.position());
    buffer.clear();
  }

  /** Completes the file; returns its number of rows. */
  public long finish() throws IOException {
    flush();
    return Native.rowsFinish(address());
  }

  @Override
  void free(long address) {
    Native.rowsFree(address);
  }
}

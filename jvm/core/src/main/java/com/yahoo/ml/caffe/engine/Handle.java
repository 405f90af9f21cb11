package com.yahoo.ml.caffe.engine;

/**
 * Owns one native object. Calls come from one thread at a time, except those that stop the others; the lock keeps these
 * from reaching an object that is being freed.
 */
abstract class Handle implements AutoCloseable {
  private final Object lock = new Object();
  private long address;

  Handle(long address) {
    this.address = address;
  }

  /** For calls by the owner. */
  final long address() {
    synchronized (lock) {
      if (address == 0) {
        throw new IllegalStateException(getClass().getSimpleName() + " is closed");
      }
      return address;
    }
  }

  /** For calls by any thread: nothing happens once the object is closed. */
  final void ifOpen(java.util.function.LongConsumer action) {
    synchronized (lock) {
      if (address != 0) {
        action.accept(address);
      }
    }
  }

  abstract void free(long address);

  @Override
  public final void close() {
    synchronized (lock) {
      if (address != 0) {
        free(address);
        address = 0;
      }
    }
  }
}

package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.util.Map;

/** One worker of a group that trains together. */
public final class Communicator extends Handle {
  private Communicator(long address) {
    super(address);
  }

  /** Listens; the options are those of caffe_comm_create. */
  public static Communicator create(Map<String, String> options) throws IOException {
    Library.load();
    return new Communicator(Native.commCreate(Options.text(options)));
  }

  /** What the others need to reach this worker; opaque. */
  public String localAddress() {
    return Native.commAddress(address());
  }

  /** Connects all workers; `addresses` are theirs in rank order. Fails within the time given, naming rank and host. */
  public void connect(int rank, String[] addresses, byte[] secret, String epoch, long configHash, long timeoutMillis)
      throws IOException {
    Native.commConnect(address(), rank, addresses.length, addresses, secret, epoch, configHash, timeoutMillis);
  }

  /** Any thread: every wait of every worker ends with an error that carries `reason`. */
  public void abort(String reason) {
    ifOpen(address -> Native.commAbort(address, reason));
  }

  @Override
  void free(long address) {
    Native.commFree(address);
  }
}

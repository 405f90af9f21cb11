package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.util.Map;

/** A network in training. */
public final class Solver extends Handle {
  private Solver(long address) {
    super(address);
  }

  /** `solver` is a serialised SolverParameter; the options are those of caffe_solver_create. */
  public static Solver create(byte[] solver, Map<String, String> options) throws IOException {
    Library.load();
    return new Solver(Native.solverCreate(solver, Options.text(options)));
  }

  public long configHash() {
    return Native.solverConfigHash(address());
  }

  /** From now on the solver works with the others of `communicator`, which must be closed after it. */
  public void join(Communicator communicator) throws IOException {
    Native.solverSetComm(address(), communicator.address());
  }

  public long iteration() {
    return Native.solverIter(address());
  }

  public long maxIteration() {
    return Native.solverMaxIter(address());
  }

  /** `iterations` updates, without tests or snapshots. All workers call it with the same number. */
  public Progress step(long iterations) throws IOException {
    double[] fields = new double[8];
    Native.solverStep(address(), iterations, fields);
    return new Progress(fields);
  }

  public int testNets() {
    return Native.solverTestNets(address());
  }

  /** One validation round of one test net. All workers call it, and all get the same outputs. */
  public NamedArrays test(int index) throws IOException {
    Object[] both = Native.solverTest(address(), index);
    return new NamedArrays((String[]) both[0], (float[][]) both[1]);
  }

  public String[] testOutputNames(int index) throws IOException {
    return Native.solverTestOutputNames(address(), index);
  }

  /** For each layer of the training net the seconds of its forward and backward pass, as means over the iterations. */
  public NamedArrays layerTimes() throws IOException {
    Object[] both = Native.solverLayerTimes(address());
    return new NamedArrays((String[]) both[0], (float[][]) both[1]);
  }

  /** A worker among several has all of the state after a step before which some worker called this: see caffe_solver_keep_state. */
  public void keepState() throws IOException {
    Native.solverKeepState(address());
  }

  /**
   * Writes weights, and the state unless its path is null; the state then names `learnedNet` as its weights. A worker among
   * several needs keepState before it.
   */
  public void snapshot(String model, String state, String learnedNet) throws IOException {
    Native.solverSnapshot(address(), model, state, learnedNet);
  }

  /** Any thread: the running call and all later ones end with CancelledException. */
  public void cancel() {
    ifOpen(Native::solverCancel);
  }

  @Override
  void free(long address) {
    Native.solverFree(address);
  }
}

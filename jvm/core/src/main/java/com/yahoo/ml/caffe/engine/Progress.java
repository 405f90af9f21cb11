package com.yahoo.ml.caffe.engine;

/** What one call of Solver.step did. */
public final class Progress {
  public final long iteration;
  /** Of the last iteration, averaged over the workers. */
  public final double loss;
  /** Over the last average_loss iterations. */
  public final double smoothedLoss;
  public final double learningRate;
  public final double seconds;
  public final double dataSeconds;
  public final double communicationSeconds;
  /** Consumed by this worker. */
  public final long records;

  Progress(double[] fields) {
    iteration = (long) fields[0];
    loss = fields[1];
    smoothedLoss = fields[2];
    learningRate = fields[3];
    seconds = fields[4];
    dataSeconds = fields[5];
    communicationSeconds = fields[6];
    records = (long) fields[7];
  }
}

package com.yahoo.ml.caffe

import caffe.Caffe.SolverParameter

/** What nets compute in, by the engine's names. */
private[caffe] object Precision {
  val F32 = "f32"
  val Bf16 = "bf16"
  val Names: Array[String] = Array(F32, Bf16)

  def of(solver: SolverParameter): String = if (solver.getPrecision == SolverParameter.Precision.BF16) Bf16 else F32

  def field(name: String): SolverParameter.Precision =
    if (name == Bf16) SolverParameter.Precision.BF16 else SolverParameter.Precision.F32

  /** For caffe_solver_create and caffe_net_create. */
  def option(name: String): (String, String) = "precision" -> name
}

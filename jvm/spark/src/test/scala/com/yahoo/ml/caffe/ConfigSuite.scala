package com.yahoo.ml.caffe

import java.nio.file.Path

import org.apache.spark.{SparkConf, SparkContext}

class ConfigSuite extends SparkTest {
  private def withContext(settings: (String, String)*)(body: SparkContext => Unit): Unit =
    withSpark("local[2]", settings: _*)(session => body(session.sparkContext))

  private def error(sc: SparkContext, args: String*): String =
    Failures.oneLine(intercept[Exception](new Config(sc, args.toArray)))

  test("flags and properties say the same, in any order, with the documented defaults") {
    withContext() { sc =>
      scratch { folder =>
        val file = solver(folder, 10).toString
        val args = Seq("-label", "label", "-features", "ip1,ip2", "-conf", file, "--model", "file:/m", "-train")
        val one = new Config(sc, args.toArray)
        val other = new Config(sc, Array("-train", "--model", "file:/m", "-conf", file, "-features", "ip1,ip2", "-label",
          "label"))
        for (conf <- Seq(one, other)) {
          assert(conf.features.toSeq == Seq("ip1", "ip2", "label") && conf.label == "label")
          assert(conf.isTraining && conf.isFeature && !conf.isTest && conf.modelPath == "file:/m")
          assert(conf.train_data_layer_id == 0 && conf.test_data_layer_id == 1)
          assert(conf.solverParameter.getMaxIter == 10 && conf.netParam.getLayerCount > 5)
          assert(conf.outputPath == "output" && conf.outputFormat == "json" && conf.devices == 1)
          assert(conf.clusterSize == 1 && conf.lmdb_partitions == 1 && !conf.isRddPersistent && !conf.resize)
          assert(conf.connection == 2 && conf.transform_thread_per_device == 1)
        }
        val plain = new Config(sc)
        assert(plain.label == "label" && plain.features == null && plain.clusterSize == 1)
        plain.features = Array("ip1")
        assert(plain.features.toSeq == Seq("ip1", "label"))
        plain.isTest = true
        plain.isFeature = true
        assert(plain.isFeature && !plain.isTest)
      }
    }
  }

  test("mistakes are one sentence each") {
    withContext() { sc =>
      scratch { folder =>
        assert(intercept[IllegalArgumentException](new Config(sc, Array("-train")).solverParameter).getMessage
          .startsWith("-conf is missing"))
        assert(error(sc, "-conf", "nothing.prototxt").startsWith("-conf nothing.prototxt does not exist in "))
        assert(error(sc, "-conf", "hdfs://h/s.prototxt").contains("is not a local file"))
        assert(error(sc, "-conf", solver(folder, 1, net = "gone.prototxt").toString).contains("net gone.prototxt does not exist"))
        val typo = write(folder.resolve("typo.prototxt"), "net: \"net.prototxt\"\nbase_lrr: 0.1\n").toString
        assert(error(sc, "-conf", typo).startsWith(s"$typo:2:"), error(sc, "-conf", typo))
        assert(error(sc, "-devices", "0").contains("at least 1"))
        assert(error(sc, "-clusterSize", "0").contains("at least 1"))
        assert(error(sc, "-precision", "f16") == "-precision must be f32 or bf16, not f16")
        assert(error(sc, "-connection", "carrier-pigeon").contains("ethernet, infiniband or the name of a transport"))
      }
    }
  }

  test("the precision is the flag's, else the solver's") {
    withContext() { sc =>
      scratch { folder =>
        def precision(more: String, args: String*): String = {
          val conf = new Config(sc, (Seq("-conf", solver(folder, 10, more).toString) ++ args).toArray)
          assert(Inference.engineOptions(conf)("precision") == conf.precision)
          conf.precision
        }
        assert(new Config(sc).precision == "f32" && precision("") == "f32" && precision("precision: BF16") == "bf16")
        assert(precision("", "-precision", "bf16") == "bf16" && precision("precision: BF16", "-precision", "f32") == "f32")
        val conf = new Config(sc)
        conf.precision = "bf16"
        assert(conf.precision == "bf16")
        assert(intercept[IllegalArgumentException](conf.precision = "BF16").getMessage.startsWith("-precision must be"))
      }
    }
  }

  test("Spark's properties say how workers talk to each other") {
    val conf = new SparkConf(false)
    assert(GroupSettings.options(conf, "tcp") == Map("interface" -> "", "transport" -> "tcp", "transport_path" -> "",
      "wire" -> "float32", "encrypt" -> "0", "share_memory" -> "1", "heartbeat_ms" -> "1000",
      "silence_ms" -> "25000", "progress_ms" -> "600000"))
    conf.set("spark.caffe.wire", "bf16").set("spark.caffe.interface", "eth1").set("spark.caffe.silence", "4s")
      .set("spark.caffe.shareMemory", "false")
    val options = GroupSettings.options(conf, "unix")
    assert(Seq("wire", "interface", "silence_ms", "transport", "share_memory").map(options) ==
      Seq("bf16", "eth1", "4000", "unix", "0"))
    def encrypts(properties: (String, String)*): String =
      GroupSettings.options(new SparkConf(false).setAll(properties), "tcp")("encrypt")
    assert(encrypts("spark.network.crypto.enabled" -> "true") == "1" && encrypts("spark.ssl.enabled" -> "true") == "1")
    assert(encrypts("spark.ssl.enabled" -> "true", "spark.caffe.encrypt" -> "false") == "0")
    assert(encrypts("spark.authenticate" -> "true") == "0" && encrypts("spark.caffe.encrypt" -> "true") == "1")
    def error(property: String, value: String): String =
      intercept[IllegalArgumentException](GroupSettings.options(conf.clone.set(property, value), "tcp")).getMessage
    assert(error("spark.caffe.wire", "fp8") == "spark.caffe.wire must be float32 or bf16, not fp8")
    assert(error("spark.caffe.silence", "1s").contains("at least twice spark.caffe.heartbeat"))
    assert(error("spark.caffe.heartbeat", "often").startsWith("spark.caffe.heartbeat is no time"))
    assert(error("spark.caffe.progressTimeout", "0s").contains("must be positive"))
  }

  test("the network may lie beside the solver, the layers for TEST may be missing") {
    withContext() { sc =>
      scratch { folder =>
        val trainOnly = text(folder.resolve("net.prototxt")).replace("phase: TEST", "phase: TRAIN stage: \"never\"")
        write(folder.resolve("sub/train_only.prototxt"), trainOnly)
        val conf = new Config(sc, Array("-conf", solver(folder.resolve("sub"), 5, net = "train_only.prototxt").toString))
        assert(conf.train_data_layer_id == 0 && conf.test_data_layer_id == -1)
        assert(intercept[IllegalArgumentException](DataSource.getSource(conf, false)).getMessage.contains("phase TEST"))
      }
    }
  }

  test("the number of workers follows dynamic allocation where that is on") {
    withContext("spark.dynamicAllocation.enabled" -> "true", "spark.dynamicAllocation.minExecutors" -> "3",
      "spark.dynamicAllocation.shuffleTracking.enabled" -> "true") { sc =>
      val conf = new Config(sc, Array("-clusterSize", "5"))
      assert(conf.clusterSize == 3 && conf.spark.dynamic)
      assert(intercept[IllegalStateException](Cluster.place(sc, 3, 1)).getMessage.contains("spark.dynamicAllocation.enabled"))
    }
  }

  test("snapshots lie beside the model, the ending of the model follows the format") {
    withContext() { sc =>
      scratch { folder =>
        def conf(model: String, more: String): Config =
          new Config(sc, Array("-conf", solver(folder, 5, more).toString, "-model", model))
        val storage = new Storage(sc.hadoopConfiguration)
        def names(c: Config): (String, String) = {
          val model = Trainer.modelPath(storage, c)
          (model.toString, Trainer.snapshotBase(model, c.solverParameter).toString)
        }
        assert(names(conf("file:/x/m", """snapshot_prefix: "sub/lenet"""")) == (("file:/x/m", "file:/x/sub/lenet")))
        assert(names(conf("file:/x/m", """snapshot_prefix: "l" snapshot_format: HDF5"""))._1 == "file:/x/m.h5")
        assert(names(conf("file:/x/m.h5", """snapshot_prefix: "/abs/l"""")) == (("file:/x/m", "file:/abs/l")))
        assert(names(conf("file:/x/m", ""))._2.startsWith("file:/x/solver-"))
      }
    }
  }

  test("a data source of an unknown class is refused by name") {
    withContext() { sc =>
      scratch { folder =>
        def error(layer: String): String = {
          write(folder.resolve("n.prototxt"), s"""layer { name: "d" type: "MemoryData" top: "data" top: "label" $layer }""")
          val conf = new Config(sc, Array("-conf", solver(folder, 1, net = "n.prototxt").toString))
          intercept[IllegalArgumentException](DataSource.getSource(conf, true)).getMessage
        }
        assert(error("").contains("layer d (MemoryData) has no source_class"))
        assert(error("""source_class: "com.yahoo.ml.caffe.ImageDataFrame"""").contains("layer d (MemoryData) has no source"))
        assert(error("""source_class: "my.Own"""").contains("my.Own is not on the class path"))
        assert(error("""source_class: "java.lang.String"""").contains("is no com.yahoo.ml.caffe.DataSource"))
      }
    }
  }
}

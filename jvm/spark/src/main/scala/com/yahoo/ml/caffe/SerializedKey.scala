package com.yahoo.ml.caffe

import java.io.{ByteArrayInputStream, DataInputStream, EOFException, IOException, ObjectStreamConstants}

import scala.collection.mutable

/**
 * The keys of CaffeOnSpark's SequenceFiles: a tuple or pair in the form of Java's serialisation. The bytes are parsed, no
 * class is loaded: a tuple's serialVersionUID is another in every version of Scala, and foreign bytes must not make
 * objects. Only the classes below are known.
 */
private[caffe] object SerializedKey {
  /** (id, label, channels, height, width, encoded); sizes are 0 where the key says none: the value is an image file. */
  type Key = (String, String, Int, Int, Int, Boolean)

  private val tuple2 = "scala.Tuple2"
  private val tuple6 = "scala.Tuple6"
  private val pair = "com.yahoo.ml.dl.caffe.Pair"
  private val MostObjects = 16
  private val known = Set(tuple2, tuple6, pair, "java.lang.Integer", "java.lang.Number", "java.lang.Boolean")

  def parse(bytes: Array[Byte]): Key =
    try {
      new Parser(bytes).whole() match {
        case Instance(`tuple2`, fields) => (text(fields("_1")), text(fields("_2")), 0, 0, 0, true)
        case Instance(`pair`, fields) => (text(fields("first")), text(fields("second")), 0, 0, 0, true)
        case Instance(`tuple6`, f) =>
          (text(f("_1")), text(f("_2")), integer(f("_3")), integer(f("_4")), integer(f("_5")), boolean(f("_6")))
        case other => throw new IOException(s"it holds $other")
      }
    } catch {
      case e @ (_: IOException | _: NoSuchElementException | _: ClassCastException) =>
        val reason = if (e.isInstanceOf[EOFException]) "it ends too early" else e.getMessage
        throw new IllegalArgumentException(s"a key of ${bytes.length} bytes is none that CaffeOnSpark writes: $reason", e)
    }

  private def text(value: Any): String = value match {
    case null => ""
    case text: String => text
    case other => throw new IOException(s"$other stands where a text is expected")
  }

  private def integer(value: Any): Int = value match {
    case Instance("java.lang.Integer", fields) => fields("value").asInstanceOf[Int]
    case other => throw new IOException(s"$other stands where a number is expected")
  }

  private def boolean(value: Any): Boolean = value match {
    case Instance("java.lang.Boolean", fields) => fields("value").asInstanceOf[Boolean]
    case other => throw new IOException(s"$other stands where true or false is expected")
  }

  private final case class Instance(className: String, fields: Map[String, Any])
  private final case class Field(kind: Char, name: String)
  private final case class Description(className: String, fields: Seq[Field], parent: Option[Description])

  /** Grammar: Java Object Serialization Specification, chapter 6. */
  private final class Parser(bytes: Array[Byte]) {
    private val in = new DataInputStream(new ByteArrayInputStream(bytes))
    private val handles = mutable.Buffer.empty[Any]
    private var objects = 0

    def whole(): Any = {
      if (in.readShort() != ObjectStreamConstants.STREAM_MAGIC || in.readShort() != ObjectStreamConstants.STREAM_VERSION) {
        throw new IOException("it does not begin as a serialised object")
      }
      content()
    }

    /** Also a limit to nesting. */
    private def count(): Unit = {
      objects += 1
      if (objects > MostObjects) throw new IOException("it holds too many objects")
    }

    private def content(): Any = in.readByte() match {
      case ObjectStreamConstants.TC_NULL => null
      case ObjectStreamConstants.TC_STRING => remember(in.readUTF())
      case ObjectStreamConstants.TC_REFERENCE => reference()
      case ObjectStreamConstants.TC_OBJECT => instance()
      case other => throw new IOException(s"a part of it has type code $other")
    }

    private def remember[A](value: A): A = {
      handles += value
      value
    }

    private def reference(): Any = {
      val index = in.readInt() - ObjectStreamConstants.baseWireHandle
      if (index < 0 || index >= handles.size) throw new IOException("it refers to a part that it does not have")
      handles(index)
    }

    private def description(): Option[Description] = in.readByte() match {
      case ObjectStreamConstants.TC_NULL => None
      case ObjectStreamConstants.TC_REFERENCE =>
        Some(Option(reference().asInstanceOf[Description]).getOrElse(throw new IOException("a class in it is its own parent")))
      case ObjectStreamConstants.TC_CLASSDESC =>
        count()
        val name = in.readUTF()
        if (!known(name)) throw new IOException(s"it holds an object of class $name")
        in.readLong() // serialVersionUID
        val handle = handles.size
        handles += null
        val flags = in.readByte()
        if (flags != ObjectStreamConstants.SC_SERIALIZABLE) throw new IOException(s"class $name has the flags $flags")
        val fields = Seq.fill(in.readShort().toInt)(field())
        if (in.readByte() != ObjectStreamConstants.TC_ENDBLOCKDATA) throw new IOException(s"class $name has annotations")
        val parent = description() // at most Number
        val made = Description(name, fields, parent)
        handles(handle) = made
        Some(made)
      case other => throw new IOException(s"a class in it has type code $other")
    }

    private def field(): Field = {
      val kind = in.readByte().toChar
      val name = in.readUTF()
      if (kind == 'L' || kind == '[') content()
      Field(kind, name)
    }

    private def instance(): Instance = {
      count()
      val described = description().getOrElse(throw new IOException("an object in it has no class"))
      val handle = handles.size
      handles += null
      val chain = Iterator.iterate(Option(described))(_.flatMap(_.parent)).takeWhile(_.isDefined).flatten.toSeq.reverse
      val fields = for (part <- chain; field <- part.fields) yield field.name -> value(field)
      val made = Instance(described.className, fields.toMap)
      handles(handle) = made
      made
    }

    private def value(field: Field): Any = field.kind match {
      case 'I' => in.readInt()
      case 'Z' => in.readBoolean()
      case 'L' => content()
      case other => throw new IOException(s"its field ${field.name} has type $other")
    }
  }
}

"""Captions of pictures as numbers, and back: what the tools of com.yahoo.ml.caffe.tools do, from Python.

from caffeonspark.tools import Conversions, Vocab

conversions, vocab = Conversions(spark), Vocab(spark)
captions = conversions.Coco2ImageCaptionFile("hdfs:///coco/captions.json", 4)
vocab.genFromData(captions, "caption", 8799)
rows = conversions.ImageCaption2Embedding("hdfs:///coco/train2014", captions, vocab, 21)
"""

from pyspark.sql import DataFrame, SparkSession

from caffeonspark._api import Spark, _context, _errors, _package

__all__ = ["Conversions", "Vocab"]


class _Tool:
    def __init__(self, spark: Spark):
        self._session = spark if isinstance(spark, SparkSession) else SparkSession(spark)
        self._tools = _package(_context(spark)).tools

    def _sql_context(self):
        return self._session._jsparkSession.sqlContext()


class Vocab(_Tool):
    """The words of captions and their numbers: 0 begins and ends a sentence, 1 is an unknown word, and from 2 on stand
    the words, the most frequent first."""

    def __init__(self, spark: Spark):
        super().__init__(spark)
        with _errors():
            self.vocabObject = self._tools.Vocab(self._sql_context())

    def genFromData(self, dataset: DataFrame, columnName: str, vocabSize: int = -1) -> None:  # noqa: N802, N803
        """From a column of captions; of all words (-1), or of the `vocabSize` most frequent ones."""
        with _errors():
            self.vocabObject.genFromData(dataset._jdf, columnName, vocabSize)

    def save(self, vocabFilePath: str) -> None:  # noqa: N803
        """Writes a text file, a word a line."""
        with _errors():
            self.vocabObject.save(vocabFilePath)

    def load(self, vocabFilePath: str) -> None:  # noqa: N803
        """Reads what `save` wrote."""
        with _errors():
            self.vocabObject.load(vocabFilePath)

    @property
    def words(self) -> list[str]:
        """The words, that with number 2 first."""
        words = self.vocabObject.all()
        return [words.apply(i) for i in range(words.length())]


class Conversions(_Tool):
    """COCO's captions to DataFrames and back."""

    def Coco2ImageCaptionFile(self, src: str, clusterSize: int) -> DataFrame:  # noqa: N802, N803
        """COCO's JSON of captions as rows of id, height, width, file, url and caption, in `clusterSize` partitions."""
        return self._call("Coco2ImageCaptionFile", self._sql_context(), src, clusterSize)

    def Image2Embedding(self, imageRootFolder: str, imageCaptionDF: DataFrame) -> DataFrame:  # noqa: N802, N803
        """id, data (height, width and the picture's file) and label (0)."""
        return self._call("Image2Embedding", imageRootFolder, imageCaptionDF._jdf)

    def ImageCaption2Embedding(  # noqa: N802
        self,
        imageRootFolder: str,  # noqa: N803
        imageCaptionDF: DataFrame,  # noqa: N803
        vocab: Vocab,
        captionLength: int,  # noqa: N803
    ) -> DataFrame:
        """The same with input_sentence, cont_sentence and target_sentence: arrays of `captionLength` numbers."""
        return self._call(
            "ImageCaption2Embedding", imageRootFolder, imageCaptionDF._jdf, vocab.vocabObject, captionLength
        )

    def Embedding2Caption(  # noqa: N802
        self,
        embeddingDF: DataFrame,  # noqa: N803
        vocab: Vocab,
        embeddingColumn: str,  # noqa: N803
        captionColumn: str,  # noqa: N803
    ) -> DataFrame:
        """Words of a column of numbers, in one more column."""
        return self._call("Embedding2Caption", embeddingDF._jdf, vocab.vocabObject, embeddingColumn, captionColumn)

    def _call(self, name: str, *arguments) -> DataFrame:
        with _errors():
            return DataFrame(getattr(self._tools.Conversions, name)(*arguments), self._session)

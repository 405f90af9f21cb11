"""The names that CaffeOnSpark's Python programs import, each in a module of its own as before:

    from com.yahoo.ml.caffe.CaffeOnSpark import CaffeOnSpark
    from com.yahoo.ml.caffe.Config import Config
    from com.yahoo.ml.caffe.DataSource import DataSource
    from com.yahoo.ml.caffe.RegisterContext import registerContext

Spark finds the Python side of a saved stage by its Scala name, so the stages of caffeonspark.ml are here too.
"""

from caffeonspark.ml import CaffeModel

__all__ = ["CaffeModel"]

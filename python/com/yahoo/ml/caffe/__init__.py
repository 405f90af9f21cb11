"""The names that CaffeOnSpark's Python programs import, each in a module of its own as before:

    from com.yahoo.ml.caffe.CaffeOnSpark import CaffeOnSpark
    from com.yahoo.ml.caffe.Config import Config
    from com.yahoo.ml.caffe.DataSource import DataSource
    from com.yahoo.ml.caffe.RegisterContext import registerContext
    from com.yahoo.ml.caffe.DisplayUtils import show_df, show_network
    from com.yahoo.ml.caffe.tools.DFConversions import DFConversions, show_captions
    from com.yahoo.ml.caffe.tools.Vocab import Vocab

Spark finds the Python side of a saved stage by its Scala name, so the stages of caffeonspark.ml are here too.
"""

from caffeonspark.ml import CaffeCaptioner, CaffeEstimator, CaffeModel

__all__ = ["CaffeCaptioner", "CaffeEstimator", "CaffeModel"]

from caffeonspark.tools import Vocab

__all__ = ["Vocab"]

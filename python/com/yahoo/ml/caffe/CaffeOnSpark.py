from caffeonspark import CaffeOnSpark

__all__ = ["CaffeOnSpark"]

from caffeonspark.display import get_image, show_captions
from caffeonspark.tools import Conversions

DFConversions = Conversions

__all__ = ["DFConversions", "get_image", "show_captions"]

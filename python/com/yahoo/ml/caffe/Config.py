from caffeonspark import Config

__all__ = ["Config"]

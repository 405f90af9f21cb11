from caffeonspark import DataSource

__all__ = ["DataSource"]

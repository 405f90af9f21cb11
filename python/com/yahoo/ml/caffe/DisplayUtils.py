from caffeonspark.display import get_np_array, image_tag, show_df, show_network

__all__ = ["get_np_array", "image_tag", "show_df", "show_network"]

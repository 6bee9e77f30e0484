from tiny_image import image, store

__all__ = ["image", "store"]

"""Looking into an image: what its layers hold, what others share with it, how it was built."""

"""Images as data: descriptors, configs, layouts, layers and the plan that names them."""

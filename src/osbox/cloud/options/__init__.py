"""OpenStack's options, as the site sets them: their names, and what the images know of them."""

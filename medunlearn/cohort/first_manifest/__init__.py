"""A first manifest for a folder of images and a table, guessed by looking at both."""

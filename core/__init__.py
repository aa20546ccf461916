"""The engine: captures, models, renderers, files and the training thread. Works without a screen."""

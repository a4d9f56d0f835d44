"""Camera, poses and the lasting spatial memory. Imports nothing else of this package."""

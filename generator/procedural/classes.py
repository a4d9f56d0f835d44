"""What a surface is: the classes that a view tells for every pixel."""

SURFACE_CLASSES = (
    "sky", "floor", "wall", "ceiling", "door", "window", "bed", "table", "chair", "sofa", "shelf", "cabinet", "lamp",
    "plant", "rug", "picture", "appliance", "box", "bin", "radiator", "screen", "tree", "bench", "hedge", "pot",
    "ground", "path", "curtain", "clock", "fence", "bath", "toilet", "piano", "books", "fountain", "parasol",
    "ball", "robot", "person",
)  # fmt: skip
"""Names by index; 0 is the sky, the last three move."""

CLASS_INDEX = {name: index for index, name in enumerate(SURFACE_CLASSES)}

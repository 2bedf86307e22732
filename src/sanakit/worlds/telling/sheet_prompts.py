"""The README's sheets: written before the trainings of what they show began, never changed after, and shown whole."""

from __future__ import annotations

SHEET_PROMPTS = (
    # one thing
    "an elephant",
    "an octopus",
    "a cat",
    "a croissant",
    "a bicycle",
    "a castle",
    "an astronaut",
    "a sunflower",
    # colours and sizes
    "a purple cat",
    "a blue apple",
    "a red umbrella",
    "a green dragon",
    "a pink teapot",
    "a yellow car",
    "a tiny mouse",
    "a huge pumpkin",
    # counts
    "two dogs",
    "three stars",
    "four balloons",
    "three blue fish",
    # relations
    "a cat to the left of a dog",
    "a dog to the left of a cat",
    "a lion to the right of a guitar",
    "a rocket above a house",
    "a shark below a boat",
    "a penguin in front of a castle",
    "a tree behind a tractor",
    "a cake on a table",
    # grounds and places
    "a rabbit on a yellow background",
    "an owl at night",
    "a turtle on the beach",
    "a polar bear in the snow",
    "a bear in a forest",
    "a motorcycle in a city",
    "a giraffe in a park",
    "a sofa in an apartment",
    # styles, views, people
    "a flat drawing of a fox",
    "a 3D icon of a camera",
    "a car seen from behind",
    "a person with red hair and glasses",
    # as people write
    "eine Katze",
    "一只大象",
    "un gato negro",
    "🐙",
    "🍎🍎🍎",
    "pizza",
    "I would love a really cute picture of an apple for my kitchen, please, with soft light and nothing else in it, "
    "just the apple, thank you so much",
    "Hello! My daughter turns five next week and she adores animals. Could you make a friendly picture of an elephant "
    "for her birthday card? It should be cheerful and simple, with clean edges and warm colours. Thank you!",
)

CLIP_SHEET_PROMPTS = (
    "a red apple moving to the left",
    "a blue car quickly moving to the right",
    "a balloon moving up",
    "a yellow leaf slowly moving down",
    "a cat coming closer",
    "a boat moving away",
    "a green frog bouncing up and down",
    "a mushroom appearing",
    "a penguin moving to the left on a yellow background",
    "a rocket moving up at night",
    "a purple star moving to the right and a red heart moving to the left",
    "a dog moving to the right and a bird moving up",
    "two yellow stars moving down",
    "three blue fish moving to the left",
    "a pink rabbit on a blue background",
    "an elephant turning around",
)

"""Okabe and Ito's colours, which colour-blind readers can tell apart; the same on paper and on the page."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"

# Scales of heat maps, light enough at both ends for dark numbers.
SEQUENTIAL = ((0.0, "#f7f9fb"), (1.0, SKY))
DIVERGING = ((0.0, SKY), (0.5, "#f7f7f7"), (1.0, ORANGE))

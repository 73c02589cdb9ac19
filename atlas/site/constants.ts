/** Cells along a side of a tile. */
export const TILE = 256;

/** Through how many layers reach is counted. */
export const LAYERS = 8;

/** Lengths at which costs are counted: from 64 tokens to 65,536, twice as many each time. */
export const LENGTHS = Array.from({ length: 11 }, (_, at) => 2 ** (6 + at));

/** Milliseconds between drawings that follow the pointer, so that the pointer does not stutter. */
export const APART = 50;

/** Tokens of which the layers of every pair are drawn, and of which reach is counted, so that each takes about a second. */
export const MOST_LAYERED = 2048;
export const MOST_REACHED = 8192;

/** Ink of a pair that is reached through no layer, one, two, ... */
export const LAYER_INKS = [0, 1, 0.44, 0.17, 0.1, 0.07, 0.05];
/** How many layers a picture shows at first. */
export const LAYERS_SHOWN = 3;

/** Cells along a side of a tile. */
export const TILE = 256;

/** Through how many layers reach is counted. */
export const LAYERS = 8;

/** Lengths at which costs are counted: from 64 tokens to 65,536, twice as many each time. */
export const LENGTHS = Array.from({ length: 11 }, (_, at) => 2 ** (6 + at));

/** Milliseconds between drawings that follow the pointer, so that the pointer does not stutter. */
export const APART = 50;

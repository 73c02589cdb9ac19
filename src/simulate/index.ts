/** What masks gain in tiles of kernels and reach in layers, counted without computing attention. */
export { endToEndSpeedup, type GnaSimulation, simulateGna } from './gna';
export { type PublishedRow, publishedRows } from './published';
export { expectedRandomField, type KeysOf, keysOfMask, type ReachOptions, receptiveField } from './reach';
export { sweepStrides } from './strides';
export type { GnaTiles } from './tile-counts';
export { type TileMenu, tilesOfMenu } from './tile-menus';

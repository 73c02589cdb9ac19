/** What masks gain in tiles of kernels and reach in layers, and context-parallel attention costs, without computing attention. */
export {
  type ContextParallelSettings,
  contiguousImbalance,
  type Link,
  MECHANISMS,
  type Mechanism,
  type MechanismCost,
  type PassCost,
  simulateContextParallel,
} from './context-parallel';
export { endToEndSpeedup, type GnaSimulation, simulateGna } from './gna';
export { type PublishedRow, publishedRows } from './published';
export { expectedRandomField, type KeysOf, keysOfMask, type ReachOptions, receptiveField } from './reach';
export { sweepStrides } from './strides';
export type { GnaTiles } from './tile-counts';
export { type TileMenu, tilesOfMenu } from './tile-menus';

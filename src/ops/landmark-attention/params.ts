import { struct } from '../../runtime/cpu/struct';

/** The most tokens of a block, without its landmark: as the backward pass takes whole blocks through a thread's working memory. */
export const MOST_BLOCK = 167;

/** Behind attention's own: tokens of a block without its landmark, and the panels that its slots fill. */
export const Grouping = struct({ block: 'i32', panels: 'i32' });

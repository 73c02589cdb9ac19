import { band } from './band';
import { checkWhole } from './check';
import { or } from './combine';
import { firstQueries, prefix } from './first';
import { interned, type Mask } from './mask';

/**
 * A window of `window` keys to either side, and `globals` first tokens that see everything and are seen by all.
 * Source: Beltagy et al. 2020, arXiv 2004.05150, section 3.1.
 */
export function globalSliding(window: number, globals: number): Mask {
  checkWhole('window', window, 0);
  checkWhole('count of globals', globals, 0);
  const mask = or(band(window, window), prefix(globals), firstQueries(globals));
  return interned({ ...mask, name: `window ${window} with ${globals} globals` });
}

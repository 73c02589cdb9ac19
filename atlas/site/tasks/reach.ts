import { keysOfMask, receptiveField } from '../../../src/simulate/reach';
import { maskAt, type Setting } from './setting';

/** So that the slowest mask takes about a second. */
const MOST_TOKENS = 8192;

export interface Reach {
  /** How many tokens are reached through one layer, two, ... */
  readonly counts: readonly number[];
  /** The number of layers through which each token is reached; 0 for never. */
  readonly layers: Uint8Array;
}

/** The tokens that a token reaches, by any head. */
export function reachThrough({
  setting,
  query,
  layers,
}: {
  readonly setting: Setting;
  readonly query: number;
  readonly layers: number;
}): Reach {
  const { mask, place } = maskAt(setting, 0);
  if (place.n > MOST_TOKENS)
    throw new Error(
      `Reach is counted up to ${MOST_TOKENS.toLocaleString('en')} tokens: choose fewer than ${place.n.toLocaleString('en')}.`,
    );
  const keysOf = keysOfMask(mask, place);
  const reached = new Uint8Array(place.n);
  const counts = receptiveField(
    (layer, from) => {
      const keys = keysOf(layer, from);
      for (let at = 0; at < keys.length; at += 2)
        for (let key = keys[at]; key < keys[at + 1]; key++) reached[key] ||= layer + 1;
      return keys;
    },
    place.n,
    { query, layers },
  );
  return { counts, layers: reached };
}

import { receptiveField } from '../../../src/simulate/reach';
import { MOST_REACHED } from '../constants';
import { keysByLayer, loadMethod, maskAt, type Setting, settle } from './setting';

export interface Reach {
  /** How many tokens are reached through one layer, two, ... */
  readonly counts: readonly number[];
  /** The number of layers through which each token is reached; 0 for never. */
  readonly layers: Uint8Array;
  /** How many there are to be reached: what comes after the query is not, if no layer sees what comes later. */
  readonly possible: number;
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
  const { place } = maskAt(setting, 0);
  if (place.n > MOST_REACHED)
    throw new Error(
      `Reach is counted up to ${MOST_REACHED.toLocaleString('en')} tokens: choose fewer than ${place.n.toLocaleString('en')}.`,
    );
  const { method, params } = settle(setting);
  const isCausal = method.isCausal?.(params) ?? (params as { readonly causal?: boolean }).causal ?? false;
  const { keysOf, changes } = keysByLayer(setting);
  const reached = new Uint8Array(place.n);
  const counts = receptiveField(
    (layer, from) => {
      const keys = keysOf(layer, from);
      for (let at = 0; at < keys.length; at += 2)
        for (let key = keys[at]; key < keys[at + 1]; key++) reached[key] ||= layer + 1;
      return keys;
    },
    place.n,
    { query, layers, changes },
  );
  return { counts, layers: reached, possible: isCausal ? query + 1 : place.n };
}

/** The reach of another method, as its page opens, at the extents of a setting; undefined if they do not fit it. */
export async function reachBeside({
  setting,
  rival,
  query,
  layers,
}: {
  readonly setting: Setting;
  readonly rival: string;
  readonly query: number;
  readonly layers: number;
}): Promise<(Pick<Reach, 'counts' | 'possible'> & { readonly method: string }) | undefined> {
  const { page } = await (await loadMethod(rival))!.page!();
  const { params } = page.sample;
  try {
    const { counts, possible } = reachThrough({ setting: { ...setting, method: rival, params }, query, layers });
    return { method: rival, counts, possible };
  } catch {
    return undefined;
  }
}

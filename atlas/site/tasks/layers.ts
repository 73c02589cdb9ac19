/** Through how many layers of a mask each query reaches each key, and by which way. */
import { reasons } from '../../../src/masks/combine';
import { keyWords } from '../../../src/masks/key-words';
import type { KeysOf } from '../../../src/simulate/reach';
import { MOST_LAYERED } from '../constants';
import { keysByLayer, maskAt, type Setting } from './setting';

interface Head {
  readonly setting: Setting;
  readonly head: number;
}

/** A bit for each token of each row. */
class Rows {
  readonly words: number;
  readonly bits: Uint32Array;

  constructor(readonly tokens: number) {
    this.words = Math.ceil(tokens / 32);
    this.bits = new Uint32Array(tokens * this.words);
  }

  has(i: number, j: number): boolean {
    return ((this.bits[i * this.words + (j >> 5)] >>> (j & 31)) & 1) === 1;
  }

  /** Adds to row i what row j of others holds. */
  join(i: number, others: Rows, j: number): void {
    const [to, from] = [i * this.words, j * this.words];
    for (let at = 0; at < this.words; at++) this.bits[to + at] |= others.bits[from + at];
  }
}

let kept: { readonly of: string; readonly layers: Uint8Array } | undefined;

/**
 * For each pair the fewest layers, of up to `most`, through which the query reaches the key; 0 for none. What the head sees
 * is one layer away, what others see is two, since it takes another layer to pass it on.
 */
export function layersOfPairs({ setting, head }: Head, most: number): Uint8Array {
  const of = JSON.stringify([setting, head, most]);
  if (kept?.of === of) return kept.layers;
  const { mask, place } = maskAt(setting, head);
  const { n } = place;
  if (n > MOST_LAYERED) throw new Error(`Layers are drawn of up to ${MOST_LAYERED.toLocaleString('en')} tokens.`);
  const layers = new Uint8Array(n * n);
  const { keysOf } = keysByLayer(setting);
  let reached = rowsOf(n, (i) => keysOf(0, i));
  for (let pair = 0; pair < n * n; pair++) if (reached.has(Math.floor(pair / n), pair % n)) layers[pair] = 2;
  for (let i = 0; i < n; i++)
    eachOf(keyWords(mask, [i], place).starts, (j) => {
      layers[i * n + j] = 1;
    });
  for (let layer = 2; layer <= most; layer++) {
    const seen = rowsOf(n, (i) => keysOf(layer - 1, i));
    const next = new Rows(n);
    for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) if (reached.has(i, k)) next.join(i, seen, k);
    for (let pair = 0; pair < n * n; pair++) if (next.has(Math.floor(pair / n), pair % n)) layers[pair] ||= layer;
    reached = next;
  }
  kept = { of, layers };
  return layers;
}

function rowsOf(tokens: number, keysOf: (i: number) => ArrayLike<number>): Rows {
  const rows = new Rows(tokens);
  for (let i = 0; i < tokens; i++)
    eachOf(keysOf(i), (j) => {
      rows.bits[i * rows.words + (j >> 5)] |= 1 << (j & 31);
    });
  return rows;
}

function eachOf(runs: ArrayLike<number>, visit: (key: number) => void): void {
  for (let at = 0; at + 1 < runs.length; at += 2) for (let key = runs[at]; key < runs[at + 1]; key++) visit(key);
}

/** From query i to key j in the fewest jumps, both included; empty if it takes more than `layers`. The last jumps are the shortest. */
export function wayOf(keysOf: KeysOf, tokens: number, [i, j]: readonly [number, number], layers: number): number[] {
  const from = new Int32Array(tokens).fill(-1);
  let reached = [i];
  for (let layer = 0; layer < layers && from[j] < 0; layer++) {
    const next: number[] = [];
    for (const k of reached)
      eachOf(keysOf(layer, k), (key) => {
        if (from[key] >= 0) return;
        from[key] = k;
        next.push(key);
      });
    reached = [...next, ...reached].sort((a, b) => Math.abs(a - j) - Math.abs(b - j));
  }
  if (from[j] < 0) return [];
  const way = [j];
  while (way[0] !== i) way.unshift(from[way[0]]);
  return way;
}

/** How many keys each query of the head reads. */
export function keysRead({ setting, head }: Head): Uint32Array {
  const { mask, place } = maskAt(setting, head);
  return Uint32Array.from({ length: place.n }, (_, i) => keyWords(mask, [i], place).count());
}

/** The parts of the mask by which pairs are seen, in the order in which a late query meets them. */
export function partsOf({ setting, head }: Head): string[] {
  const { mask, place } = maskAt(setting, head);
  const found = new Set<string>();
  for (let j = place.m - 1; j >= 0; j--)
    if (mask.sees(place.n - 1, j, place)) for (const part of reasons(mask, place.n - 1, j, place)) found.add(part);
  return [...found].filter((part) => part !== 'causal');
}

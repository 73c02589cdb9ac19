/** Keys of a rank that queries of others see, and their exchange: under windows they are those at the edges of its tokens. */
import { keyWords } from '../masks/key-words';
import type { Extent, Mask, Place } from '../masks/mask';
import { contiguous } from '../ops/copy';
import { gather } from '../ops/gather';
import { scatterAdd } from '../ops/scatter-add';
import type { Tensor } from '../tensor/tensor';
import { dispose } from './circulate';
import type { Communicator } from './communicator';
import type { Exchange, Source } from './exchanged-attention';
import { distinctPlaces, type Run, type Shard, tokensIn } from './shards';

/** What ranks see of each other's tokens. */
export interface Edges {
  /** By rank and by holder: the holder's tokens that the rank is given, of its own all. */
  readonly given: readonly (readonly (readonly Run[])[])[];
  /** Keys that the busiest rank sends others, to how many, and the most that a rank sends and is sent. */
  readonly sent: { readonly keys: number; readonly devices: number; readonly both: number };
}

/** Queries that a mask is asked about at once. */
const AT_ONCE = 32;

export function edgesOf(mask: Mask, extent: Extent, shards: readonly Shard[]): Edges {
  const places = distinctPlaces(mask, extent).map(({ place }) => place);
  const given = shards.map(({ runs }, rank) => {
    const seen = keysSeenBy(mask, places, runs);
    return shards.map((shard, holder) => (holder === rank ? shard.runs : commonRuns(seen, shard.runs)));
  });
  let sent = { keys: 0, devices: 0, both: 0 };
  for (const rank of shards.keys()) {
    const counts = given.map((of, other) => (other === rank ? 0 : tokensIn(of[rank] as readonly Run[])));
    const keys = counts.reduce((sum, count) => sum + count, 0);
    const got = (given[rank] as readonly (readonly Run[])[]).reduce((sum, runs) => sum + tokensIn(runs), 0);
    const both = Math.max(sent.both, keys + got - (shards[rank] as Shard).tokens);
    sent = keys > sent.keys ? { keys, devices: counts.filter((count) => count > 0).length, both } : { ...sent, both };
  }
  return { given, sent };
}

/** The keys that some of the queries in runs see, in some place. */
function keysSeenBy(mask: Mask, places: readonly Place[], runs: readonly Run[]): readonly Run[] {
  const { m } = places[0] as Place;
  /** By how many more queries each key is seen than the one before it. */
  const changes = new Int32Array(m + 1);
  const add = (start: number, past: number) => {
    changes[start]!++;
    changes[past]!--;
  };
  for (const place of places)
    for (const [start, past] of runs)
      for (let first = start; first < past; first += AT_ONCE) {
        const { starts, words } = keyWords(mask, range(first, Math.min(past, first + AT_ONCE)), place);
        for (const [at, word] of words.entries()) if (word !== 0) add(starts[at] as number, starts[at + 1] ?? m);
      }
  const seen: Run[] = [];
  let [depth, first] = [0, 0];
  for (const [key, change] of changes.entries()) {
    if (depth === 0) first = key;
    depth += change;
    if (depth === 0 && first < key) seen.push([first, key]);
  }
  return seen;
}

const range = (first: number, past: number) => Int32Array.from({ length: past - first }, (_, at) => first + at);

/** The tokens in both of two lists of runs, each in ascending order. */
function commonRuns(a: readonly Run[], b: readonly Run[]): readonly Run[] {
  const common: Run[] = [];
  for (let [atA, atB] = [0, 0]; ; ) {
    const [ofA, ofB] = [a[atA], b[atB]];
    if (!ofA || !ofB) return common;
    const [start, past] = [Math.max(ofA[0], ofB[0]), Math.min(ofA[1], ofB[1])];
    if (start < past) common.push([start, past]);
    if (ofA[1] < ofB[1]) atA++;
    else atB++;
  }
}

/** The places of tokens among those of a rank. */
function placesAmong(own: readonly Run[], tokens: readonly Run[]): number[] {
  const places: number[] = [];
  let [at, before] = [0, 0];
  for (const [start, past] of tokens) {
    for (let [first, end] = own[at] as Run; end <= start; [first, end] = own[at] as Run) {
      before += end - first;
      at++;
    }
    const offset = before - (own[at] as Run)[0];
    for (let token = start; token < past; token++) places.push(offset + token);
  }
  return places;
}

/** Keys and values that other ranks see go to them, each once; `seen` are those of all ranks that come to this one. */
export function passEdges(
  communicator: Communicator,
  { given }: Edges,
  shards: readonly Shard[],
  seen: Source,
): Exchange {
  const { rank } = communicator;
  const own = (shards[rank] as Shard).runs;
  const counts = given.map((of) => tokensIn(of[rank] as readonly Run[]));
  const received = (given[rank] as readonly (readonly Run[])[]).map(tokensIn);
  const places = given.flatMap((of) => placesAmong(own, of[rank] as readonly Run[]));
  return (keys, visit) => {
    const [{ runtime, shape }] = keys as [Tensor];
    const [b, t] = shape as [number, number];
    const rows = Int32Array.from({ length: b * places.length }, (_, at) => {
      const batch = Math.floor(at / places.length);
      return batch * t + (places[at - batch * places.length] as number);
    });
    using indices = runtime.tensor(rows, [b, places.length], 'i32');
    const passed = (x: Tensor) => {
      const sent = gather(inRows(x.isContiguous ? x : contiguous(x), [b * t]), indices);
      const shaped = sent.reshape([b, places.length, ...x.shape.slice(2)]);
      return communicator.allToAll(shaped, { split: 1, counts, received });
    };
    const returned = (x: Tensor) => {
      const parts = communicator.allToAll(x, { split: 1, counts: received, received: counts });
      return scatterAdd(inRows(parts, [b, places.length]), indices, b * t).reshape([b, t, ...x.shape.slice(2)]);
    };
    const all = keys.map((x) => runtime.scope(() => passed(x)));
    const found = visit(all, seen);
    dispose(all);
    const sums = found?.map((x) => runtime.scope(() => returned(x)));
    dispose(found ?? []);
    return sums;
  };
}

/** x [b, t, heads, columns] with its last two axes as one, behind others. */
const inRows = (x: Tensor, rows: readonly number[]): Tensor => {
  const [, , heads, columns] = x.shape as [number, number, number, number];
  return x.reshape([...rows, heads * columns]);
};

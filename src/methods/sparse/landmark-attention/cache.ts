/**
 * What a decoder keeps of past tokens: keys before they are rotated, values, and the landmarks' keys. Blocks are opened by the scores
 * of their landmarks; what is opened gets positions close to the query, so that texts may be longer than any that was trained on.
 */
import { checkChoice } from '../../../check';
import { cast, concat, contiguous, widened } from '../../../ops/copy';
import { gather } from '../../../ops/gather';
import { isGroupedHere, landmarkAttention } from '../../../ops/landmark-attention';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { max } from '../../../ops/reduce';
import { softmax } from '../../../ops/softmax';
import { topK } from '../../../ops/top-k';
import { bytesPerElement } from '../../../tensor/dtype';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions, OwnCache, OwnCachePlace, Rotate } from '../../continuation';
import { attendRows, keyOfMiss, type Opened, splitKeys } from './grouped';

/** Which blocks are opened, and at which positions. */
export interface Retrieval {
  readonly block: number;
  /** Default: all of them, at their own positions. */
  readonly topBlocks?: number | undefined;
  /** By each query and head; by a query for all heads; by a head for all queries of a step. */
  readonly openedBy: 'query-head' | 'query' | 'head';
  readonly scale?: number | undefined;
  /** Where the context-miss token weighs less, nothing is opened. Default 0. */
  readonly missBelow?: number | undefined;
}

/** Tokens that a row has room for at first. */
const ROOM = 256;

type Names = 'keys' | 'values' | 'landmarks';

/** A row: tables of tokens [room, g, d] and [room, g, e], and of landmarks [blocks of the room, g, d]. */
interface Row {
  length: number;
  tables: Readonly<Record<Names, Tensor>> | undefined;
}

export class LandmarkCache implements OwnCache {
  /** Made by `open` of the continuation and by `fork`. */
  constructor(
    private readonly place: OwnCachePlace,
    private readonly retrieval: Retrieval,
    private readonly rows: readonly Row[],
  ) {
    checkChoice('dtype of the cache of landmark-attention', place.dtype, ['f32', 'f16', 'bf16']);
  }

  get lengths(): readonly number[] {
    return this.rows.map(({ length }) => length);
  }

  get bytes(): number {
    return this.slowBytes + this.#bytesOf('landmarks');
  }

  /** Those of keys and values: blocks that no landmark opens are never read. */
  get slowBytes(): number {
    return this.#bytesOf('keys') + this.#bytesOf('values');
  }

  #bytesOf(name: Names): number {
    const tables = this.rows.flatMap(({ tables }) => tables?.[name] ?? []);
    return tables.reduce((sum, { size, dtype }) => sum + size * bytesPerElement(dtype), 0);
  }

  append(inputs: Readonly<Record<string, Tensor>>, { counts }: AttendOptions, rotate: Rotate): Tensor {
    const { q, k, v, miss } = inputs as Readonly<Record<'q' | 'k' | 'v', Tensor>> & { readonly miss?: Tensor };
    const [, n, h] = q.shape as [number, number, number];
    const { runtime, e } = this.place;
    const out = runtime.empty([this.rows.length, n, h, e], 'f32');
    for (const [at, row] of this.rows.entries()) {
      const count = counts[at] as number;
      const part = (x: Tensor, first: number, past: number) => x.slice(0, at, at + 1).slice(1, first, past);
      if (count < n) fillWithZeros(part(out, count, n));
      if (count === 0) continue;
      const before = row.length;
      this.#write(row, part(k, 0, count), part(v, 0, count), rotate);
      runtime.scope(
        () =>
          void contiguous(this.#attend(row, before, part(q, 0, count), rotate, miss) as Tensor<'f32'>, {
            out: part(out, 0, count) as Tensor<'f32'>,
          }),
      );
    }
    return out;
  }

  /** Adds tokens to a row, and the landmarks of blocks that they complete. */
  #write(row: Row, k: Tensor, v: Tensor, rotate: Rotate): void {
    const before = row.length;
    const past = before + (k.shape[1] as number);
    this.#makeRoom(row, past);
    const { keys, values, landmarks } = row.tables as Readonly<Record<Names, Tensor>>;
    const size = this.retrieval.block + 1;
    const isFixed = this.retrieval.topBlocks === undefined;
    const stored = isFixed ? rotate(k, { offset: before }) : k;
    put(stored, keys, before);
    put(v, values, before);
    const [first, last] = [Math.floor(before / size), Math.floor(past / size)];
    if (isFixed || first === last) return;
    const inBlocks = keys.slice(0, first * size, last * size).reshape([last - first, size, ...keys.shape.slice(1)]);
    const own = widened(contiguous(inBlocks.slice(1, size - 1, size)));
    // Old blocks all stand in the first slot, where a landmark's position is that within its block.
    const places = k.runtime.tensor(new Int32Array(last - first).fill(size - 1), [last - first], 'i32');
    put(rotate(own.reshape([1, last - first, ...keys.shape.slice(1)]), places), landmarks, first);
  }

  #makeRoom(row: Row, tokens: number): void {
    const held = row.tables?.keys.shape[0] ?? 0;
    if (tokens <= held) return;
    const { runtime, keyHeads, d, e, dtype } = this.place;
    const room = Math.max(ROOM, tokens, 2 * held);
    const shapes = {
      keys: [room, keyHeads, d],
      values: [room, keyHeads, e],
      landmarks: [Math.max(1, Math.floor(room / (this.retrieval.block + 1))), keyHeads, d],
    };
    const grown = (name: Names) => {
      const table = runtime.empty(shapes[name], name === 'landmarks' ? 'f32' : (dtype as 'f32'));
      runtime.keepBeyondScopes(table);
      const old = row.tables?.[name];
      if (old) contiguous(old as Tensor<'f32'>, { out: table.slice(0, 0, old.shape[0] as number) });
      return table;
    };
    const tables = { keys: grown('keys'), values: grown('values'), landmarks: grown('landmarks') };
    for (const each of Object.values(row.tables ?? {})) each.dispose();
    row.tables = tables;
  }

  /** The results of tokens that a row has by now, of which `before` were there already. */
  #attend(row: Row, before: number, q: Tensor, rotate: Rotate, miss: Tensor | undefined): Tensor {
    row.length = before + (q.shape[1] as number);
    const { topBlocks, block } = this.retrieval;
    const size = block + 1;
    const blocks = topBlocks === undefined ? 0 : Math.floor(before / size);
    // What is in no complete block by the beginning of the step is near.
    const near = blocks * size;
    const base = topBlocks === undefined ? 0 : Math.min(blocks, topBlocks + 1) * size;
    const { keys, values } = row.tables as Readonly<Record<Names, Tensor>>;
    const nearby = (table: Tensor) => {
      const own = contiguous(table.slice(0, near, row.length) as Tensor<'f32'>);
      return widened(own.reshape([1, row.length - near, ...table.shape.slice(1)]));
    };
    const k = topBlocks === undefined ? nearby(keys) : rotate(nearby(keys), { offset: base });
    const queries = rotate(contiguous(q as Tensor<'f32'>), { offset: base + before - near });
    const { scale = 1 / Math.sqrt(this.place.d) } = this.retrieval;
    // A prompt has nothing before it.
    if (before === 0 && isGroupedHere(q, block)) return landmarkAttention(queries, k, nearby(values), block, { scale });
    const scaled = map((x, { scale }) => scale * x, queries, { captured: { scale } }) as Tensor;
    const chosen = blocks > 0 ? this.#choose(row, blocks, scaled, rotate) : undefined;
    const open = (queries: Tensor, from: number, past: number) =>
      chosen && this.#open(row, blocks, queries, chosen.slice(2, from, past), rotate);
    const key = chosen && miss && keyOfMiss(miss);
    return this.#attendBlocks(scaled, k, nearby(values), before - near, open, key);
  }

  /** The results of queries [1, n, h, d], the first of which is token `first` of those nearby, a block of them at a time. */
  #attendBlocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    first: number,
    open: (queries: Tensor, from: number, past: number) => Opened | undefined,
    miss: Tensor | undefined,
  ): Tensor {
    const [, n, h, d] = q.shape as [number, number, number, number];
    const { keyHeads: g, e } = this.place;
    const { block, missBelow } = this.retrieval;
    const parts = splitKeys(k, v, block);
    const outs: Tensor[] = [];
    for (let from = 0; from < n; ) {
      const at = Math.floor((first + from) / (block + 1));
      const past = Math.min(n, (at + 1) * (block + 1) - first);
      const count = past - from;
      // What blocks of queries open is freed before the next.
      outs.push(
        q.runtime.scope(() => {
          const own = contiguous(
            q
              .slice(1, from, past)
              .reshape([1, count, g, h / g, d])
              .permute([0, 2, 3, 1, 4]),
          );
          const queries = own.reshape([1, g, (h / g) * count, d]);
          const opened = open(queries, from, past);
          const rows = { first: first + from - at * (block + 1), count };
          const given = { q: queries, ...parts.before(at), ...parts.own(at), opened, miss };
          const out = attendRows(given, rows, { block, scale: 1, missBelow }, {});
          return contiguous(out.reshape([1, g, h / g, count, e]).permute([0, 3, 1, 2, 4])).reshape([1, count, h, e]);
        }),
      );
      from = past;
    }
    return outs.length === 1 ? (outs[0] as Tensor) : concat(outs as Tensor<'f32'>[], 1);
  }

  /** The blocks that queries open, [g, h / g, n, count] i32, the older ones first. */
  #choose(row: Row, blocks: number, q: Tensor, rotate: Rotate): Tensor {
    const { topBlocks, openedBy, block } = this.retrieval;
    const [, n, h, d] = q.shape as [number, number, number, number];
    const { keyHeads: g, runtime } = this.place;
    const count = Math.min(topBlocks as number, blocks);
    if (count === blocks) {
      const all = Int32Array.from({ length: h * n * count }, (_, at) => at % count);
      return runtime.tensor(all, [g, h / g, n, count], 'i32');
    }
    const { landmarks } = row.tables as Readonly<Record<Names, Tensor>>;
    // The newest blocks have slots of their own.
    const size = block + 1;
    const newest = (row.tables as Readonly<Record<Names, Tensor>>).keys
      .slice(0, (blocks - count) * size, blocks * size)
      .reshape([count, size, g, d])
      .slice(1, block, size);
    const slots = Int32Array.from({ length: count }, (_, at) => (at + 1) * size + block);
    const keys = widened(contiguous(newest as Tensor<'f32'>)).reshape([1, count, g, d]);
    const rotated = rotate(keys, runtime.tensor(slots, [count], 'i32')).reshape([count, g, d]);
    const old = landmarks.slice(0, 0, blocks - count) as Tensor<'f32'>;
    const all = concat([old, rotated as Tensor<'f32'>], 0).permute([1, 0, 2]);
    const queries = contiguous(q.reshape([n, g, h / g, d]).permute([1, 2, 0, 3])).reshape([g, (h / g) * n, d]);
    const scores = matmul(queries, all, { transposeB: true }).reshape([g, h / g, n, blocks]);
    const shared = openedBy === 'query-head' ? scores : max(softmax(scores), sharing(openedBy));
    const { indices } = topK(shared, count);
    const { values } = topK(cast(indices, 'f32'), count, { largest: false });
    const chosen = cast(values, 'i32');
    return openedBy === 'query-head' ? chosen : contiguous(chosen.expand([g, h / g, n, count]) as Tensor<'i32'>);
  }

  /** Opened blocks of queries [1, g, rows, d]: their scores, landmarks', and values; `chosen` is [g, h / g, count of queries, k]. */
  #open(row: Row, blocks: number, q: Tensor, chosen: Tensor, rotate: Rotate): Opened {
    const { block, topBlocks } = this.retrieval;
    const size = block + 1;
    const [g, shared, n, k] = chosen.shape as [number, number, number, number];
    const { keys, values } = row.tables as Readonly<Record<Names, Tensor>>;
    const [d, e] = [keys.shape[2] as number, values.shape[2] as number];
    const { runtime } = q;
    const all = contiguous(chosen as Tensor<'i32'>).reshape([g, shared * n, k, 1]);
    const offsets = runtime.tensor(
      Int32Array.from({ length: size }, (_, at) => at),
      [1, 1, 1, size],
    );
    const heads = runtime.tensor(
      Int32Array.from({ length: g }, (_, at) => at),
      [g, 1, 1, 1],
    );
    const slots = runtime.tensor(
      Int32Array.from({ length: k }, (_, at) => at * size),
      [1, 1, k, 1],
    );
    const rowsOf = map((at, offset, head, { size, g }) => (at * size + offset) * g + head, all, offsets, heads, {
      captured: { size, g },
    }) as Tensor;
    // Blocks that are all there keep their positions; of others the newest leave a slot free before them.
    const later = blocks > (topBlocks as number) ? size : 0;
    const positions = map(
      (at, offset, slot, { oldest, later }) => slot + offset + (at >= oldest ? later : 0),
      all,
      offsets,
      slots,
      { captured: { oldest: blocks - k, later } },
    ) as Tensor;
    const tokens = shared * n * k * size;
    const fetched = widened(gather(keys.reshape([-1, d]) as Tensor<'f32'>, rowsOf.reshape([-1])));
    const rotated = rotate(fetched.reshape([g, tokens, 1, d]), positions.reshape([g, tokens]));
    const perQuery = rotated.reshape([g * shared * n, k * size, d]);
    const scores = matmul(q.reshape([g * shared * n, 1, d]), perQuery, { transposeB: true }).reshape([
      1,
      g,
      shared * n,
      k,
      size,
    ]);
    const found = widened(gather(values.reshape([-1, e]) as Tensor<'f32'>, rowsOf.reshape([-1])));
    const regular = found.reshape([g * shared * n, k, size, e]).slice(2, 0, block);
    return {
      gates: contiguous(scores.slice(4, block, size)).reshape([1, g, shared * n, k]),
      scores: contiguous(scores.slice(4, 0, block)),
      values: contiguous(regular).reshape([g * shared * n, k * block, e]),
    };
  }

  truncate(lengths: readonly number[]): void {
    for (const [at, row] of this.rows.entries()) row.length = lengths[at] as number;
  }

  fork(rows: readonly number[]): LandmarkCache {
    return this.#of(rows.map((at) => this.rows[at] as Row));
  }

  join(others: readonly LandmarkCache[]): LandmarkCache {
    return this.#of([this, ...others].flatMap(({ rows }) => rows));
  }

  /** A cache with copies of rows. */
  #of(rows: readonly Row[]): LandmarkCache {
    const { runtime } = this.place;
    const copy = (table: Tensor) => {
      const own = contiguous(table as Tensor<'f32'>);
      runtime.keepBeyondScopes(own);
      return own as Tensor;
    };
    const copies = rows.map(({ length, tables }) => ({
      length,
      tables: tables && {
        keys: copy(tables.keys),
        values: copy(tables.values),
        landmarks: copy(tables.landmarks),
      },
    }));
    return new LandmarkCache({ ...this.place, rows: rows.length }, this.retrieval, copies);
  }

  dispose(): void {
    for (const row of this.rows) {
      for (const table of Object.values(row.tables ?? {})) table.dispose();
      row.tables = undefined;
      row.length = 0;
    }
  }
}

/** Over which axes of scores [g, h / g, n, blocks] the largest counts. */
const sharing = (by: 'query' | 'head') => ({ axes: by === 'query' ? [0, 1] : [2], keepDims: true });

/** Writes x [1, n, ...] to rows of a table from `first` on, in its element type. */
function put(x: Tensor, table: Tensor, first: number): void {
  const [, n] = x.shape as [number, number];
  const rows = contiguous(x as Tensor<'f32'>).reshape([n, ...table.shape.slice(1)]);
  cast(rows, table.dtype as 'f32', { out: table.slice(0, first, first + n) as Tensor<'f32'> });
}

function fillWithZeros(out: Tensor): void {
  const zero = out.runtime.tensor([0], [1]);
  contiguous(zero.expand(out.shape) as Tensor<'f32'>, { out: out as Tensor<'f32'> });
}

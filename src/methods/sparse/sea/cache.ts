/**
 * What a decoder keeps of past tokens for SEA: queries, keys and values, and what the estimator needs of them to go on: Performer's
 * state, and what Performer found for the last tokens, which the convolutions see. A step reads the keys that it chooses only.
 */

import { checkChoice } from '../../../check';
import { cellAttention } from '../../../ops/cell-attention';
import { cast, contiguous, widened } from '../../../ops/copy';
import { add } from '../../../ops/map';
import { sum } from '../../../ops/reduce';
import { bytesPerElement } from '../../../tensor/dtype';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions, Complete, OwnCache, OwnCachePlace, Rotate } from '../../continuation';
import type { Reached } from './layer';
import { mixed, runningMean } from './mixed';

/** Tokens that a row has room for at first. */
const ROOM = 256;
const NAMES = ['q', 'k', 'v'] as const;

type Qkv = Readonly<Record<(typeof NAMES)[number], Tensor>>;

/** The estimator behind so many tokens, and the sum of their values, [1, 1, g, e]. */
interface Behind {
  readonly tokens: number;
  readonly reached: Reached;
  readonly sum: Tensor;
}

interface Row {
  length: number;
  /** [room, heads, width] each. */
  tables?: Qkv | undefined;
  behind?: Behind | undefined;
}

interface Choosing {
  readonly keys: number;
  readonly scale?: number | undefined;
}

export class SeaCache implements OwnCache {
  /** Made by `open` of the continuation and by `fork`. */
  constructor(
    private readonly place: OwnCachePlace,
    private readonly choosing: Choosing,
    private readonly rows: readonly Row[],
  ) {
    checkChoice('dtype of the cache of sea', place.dtype, ['f32', 'f16', 'bf16']);
  }

  get lengths(): readonly number[] {
    return this.rows.map(({ length }) => length);
  }

  get bytes(): number {
    const held = this.rows.flatMap(({ tables, behind }) => [
      ...Object.values(tables ?? {}),
      ...(behind ? tensorsOf(behind) : []),
    ]);
    return held.reduce((total, { size, dtype }) => total + size * bytesPerElement(dtype), 0);
  }

  /** None: what is chosen may be anything. */
  readonly slowBytes = 0;

  append(
    inputs: Readonly<Record<string, Tensor>>,
    { counts, signal }: AttendOptions,
    rotate: Rotate,
    complete: Complete = (given) => given,
  ): Tensor {
    const { q, k, v } = inputs as Qkv;
    const [, n, h] = q.shape as [number, number, number];
    const { runtime, e } = this.place;
    const out = runtime.empty([this.rows.length, n, h, e], 'f32');
    for (const [at, row] of this.rows.entries()) {
      const count = counts[at] as number;
      const part = (x: Tensor, first: number, past: number) =>
        x.slice(0, at, at + 1).slice(1, first, past) as Tensor<'f32'>;
      if (count < n)
        contiguous(runtime.tensor([0], [1]).expand(part(out, count, n).shape), { out: part(out, count, n) });
      if (count === 0) continue;
      runtime.scope(() => {
        const own = (x: Tensor) => contiguous(part(x, 0, count));
        const turned = (x: Tensor) => rotate(own(x), { offset: row.length });
        const result = this.#append(row, { q: turned(q), k: turned(k), v: own(v) }, complete, signal);
        contiguous(result, { out: part(out, 0, count) });
      });
    }
    return out;
  }

  /** The results of further tokens of a row. */
  #append(row: Row, own: Qkv, complete: Complete, signal: AbortSignal | undefined): Tensor<'f32'> {
    const before = row.length;
    const past = before + (own.k.shape[1] as number);
    const { keyHeads: g } = this.place;
    if (row.behind && row.behind.tokens !== before) {
      // Tokens were taken back: what is left goes through the estimator anew.
      disposeAll(row.behind);
      row.behind = undefined;
      if (before > 0)
        this.#advance(
          row,
          named((name) => widened(firstOf(row, name, before))),
          complete,
        );
    }
    const { behind } = row;
    const means = runningMean(own.v, behind && { tokens: before, sum: behind.sum });
    this.#write(row, own, past);
    const given = this.#advance(row, own, complete);
    const [k, v] = [widened(firstOf(row, 'k', past)), widened(firstOf(row, 'v', past))];
    const { keys, scale } = this.choosing;
    const chosen = cellAttention(own.q, k, v, given.estimate, { keys, scale, causal: true, signal });
    return mixed(chosen, means, given, g, { signal });
  }

  /** Takes the estimator past further tokens; returns their maps and gates. */
  #advance(row: Row, own: Qkv, complete: Complete) {
    const { behind } = row;
    const tokens = (behind?.tokens ?? 0) + (own.k.shape[1] as number);
    const given = complete({ ...own, ...behind?.reached, seen: firstOf(row, 'k', tokens) }) as Qkv &
      Reached &
      Estimated;
    const values = sum(own.v, { axes: [1], keepDims: true });
    const { state, keySum, found, values: seen } = given;
    const next = {
      tokens,
      reached: { state, keySum, found, values: seen },
      sum: behind ? add(behind.sum, values) : values,
    };
    for (const each of tensorsOf(next)) this.place.runtime.keepBeyondScopes(each);
    if (behind) disposeAll(behind);
    row.behind = next;
    return given;
  }

  #write(row: Row, own: Qkv, past: number): void {
    const held = row.tables?.k.shape[0] ?? 0;
    const { runtime } = this.place;
    if (past > held) {
      const room = Math.max(ROOM, past, 2 * held);
      const old = row.tables;
      row.tables = named((name) => {
        const [, , heads, width] = own[name].shape as [number, number, number, number];
        const table = runtime.empty([room, heads, width], this.place.dtype as 'f32');
        runtime.keepBeyondScopes(table);
        if (old) contiguous(old[name] as Tensor<'f32'>, { out: table.slice(0, 0, held) });
        old?.[name].dispose();
        return table;
      });
    }
    for (const name of NAMES) {
      const out = (row.tables as Qkv)[name].slice(0, row.length, past) as Tensor<'f32'>;
      cast((own[name] as Tensor<'f32'>).reshape(own[name].shape.slice(1)), out.dtype, { out });
    }
    row.length = past;
  }

  truncate(lengths: readonly number[]): void {
    for (const [at, row] of this.rows.entries()) row.length = lengths[at] as number;
  }

  fork(rows: readonly number[]): SeaCache {
    return this.#of(rows.map((at) => this.rows[at] as Row));
  }

  join(others: readonly SeaCache[]): SeaCache {
    return this.#of([this, ...others].flatMap(({ rows }) => rows));
  }

  /** A cache with copies of rows. */
  #of(rows: readonly Row[]): SeaCache {
    const { runtime } = this.place;
    const copy = (x: Tensor): Tensor => {
      const own = contiguous(x as Tensor<'f32'>);
      runtime.keepBeyondScopes(own);
      return own;
    };
    const copies = rows.map(({ length, tables, behind }) => ({
      length,
      tables: tables && named((name) => copy(tables[name])),
      behind: behind && {
        tokens: behind.tokens,
        sum: copy(behind.sum),
        reached: Object.fromEntries(
          Object.entries(behind.reached).map(([name, x]) => [name, copy(x)]),
        ) as unknown as Reached,
      },
    }));
    return new SeaCache({ ...this.place, rows: rows.length }, this.choosing, copies);
  }

  dispose(): void {
    for (const row of this.rows) {
      for (const table of Object.values(row.tables ?? {})) table.dispose();
      if (row.behind) disposeAll(row.behind);
      row.tables = undefined;
      row.behind = undefined;
      row.length = 0;
    }
  }
}

type Estimated = Readonly<Record<'estimate' | 'prob' | 'mix', Tensor>>;

const named = (of: (name: (typeof NAMES)[number]) => Tensor) =>
  Object.fromEntries(NAMES.map((name) => [name, of(name)])) as unknown as Qkv;

/** The queries, keys or values of a row's first tokens, [1, count, heads, width]. */
function firstOf({ tables }: Row, name: (typeof NAMES)[number], count: number): Tensor {
  const all = (tables as Qkv)[name];
  return all.slice(0, 0, count).reshape([1, count, ...all.shape.slice(1)]);
}

const tensorsOf = ({ reached, sum }: Behind): Tensor[] => [...Object.values(reached), sum];

function disposeAll(behind: Behind): void {
  for (const each of tensorsOf(behind)) each.dispose();
}

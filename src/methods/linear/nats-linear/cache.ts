/**
 * What a decoder keeps of past tokens for NAtS-L: keys and values of softmax attention, which route closed chunks took, the
 * state of the delta rule before the open chunk, and the tokens of that chunk, whose route is known when it closes. A step
 * reads those keys that its heads see.
 */
import { createKeyValueCache, type KeyValueCache } from '../../../cache/key-value-cache';
import { attention } from '../../../ops/attention';
import { positionsFrom } from '../../../ops/cache/layer';
import { concat, contiguous } from '../../../ops/copy';
import { zeros } from '../../../ops/float32';
import { map } from '../../../ops/map/map';
import { bytesPerElement } from '../../../tensor/dtype';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions, Complete, OwnCache, OwnCachePlace, Rotate } from '../../continuation';
import { deltaForward, mapped } from './delta';
import { choices, merge, ofDelta, ofSoftmax, type Tokens } from './forward';
import { chunkMeans, softmaxHeads } from './layer';
import type { Params } from './params';
import type { Problem } from './problem';

/** Of the tokens of the open chunk [1, m, ...], as the delta rule takes them; of the closed chunks [1, c, h]; of all of those before. */
type Kept = { readonly [Name in 'k' | 'v' | 'g' | 'beta' | 'route' | 'choices' | 'state']?: Tensor | undefined };

/** A row when it had so many tokens. */
interface Moment {
  readonly length: number;
  readonly kept: Kept;
}

export class NatsLinearCache implements OwnCache {
  /** Of each row the last is now; earlier ones are kept so that the last steps can be taken back. */
  private constructor(
    private readonly place: OwnCachePlace,
    private readonly params: Params,
    private readonly heads: Pick<Problem, 'a' | 'p' | 'r'>,
    private readonly keys: KeyValueCache,
    private readonly rows: readonly Moment[][],
  ) {}

  static open(place: OwnCachePlace, params: Params): NatsLinearCache {
    const { runtime, rows, heads: h, d, e, dtype } = place;
    const heads = softmaxHeads({ heads: h, d, e });
    const keys = createKeyValueCache(runtime, {
      ...{ layers: 1, rows, capacity: Number.MAX_SAFE_INTEGER, dtype },
      ...{ heads: heads.a, d: heads.p, e: heads.r },
    });
    const none = Array.from({ length: rows }, (): Moment[] => [{ length: 0, kept: {} }]);
    return new NatsLinearCache(place, params, heads, keys, none);
  }

  get lengths(): readonly number[] {
    return this.rows.map((row) => now(row).length);
  }

  get bytes(): number {
    return [...tensorsOf(this.rows.flat())].reduce(
      (sum, { size, dtype }) => sum + size * bytesPerElement(dtype),
      this.keys.bytes,
    );
  }

  /** None: any chunk may be seen. */
  readonly slowBytes = 0;

  append(
    { q, k, v }: Readonly<Record<string, Tensor>>,
    { counts, signal }: AttendOptions,
    rotate: Rotate,
    complete: Complete = (given) => given,
  ): Tensor {
    const { runtime, e, heads: h } = this.place;
    const [b, n] = (q as Tensor).shape as [number, number];
    const positions = positionsFrom(runtime, this.lengths, n);
    const given = complete({
      q: rotate(q as Tensor, positions),
      k: rotate(k as Tensor, positions),
      v: v as Tensor,
      before: runtime.tensor(Int32Array.from(this.lengths), [b], 'i32'),
    }) as Tokens & Readonly<Record<'route', Tensor>>;
    const ofHeads = ofSoftmax(given, this.params, this.heads);
    const delta = ofDelta(given, this.params);
    this.keys.append(0, ofHeads.k, ofHeads.v, { counts, signal });
    const [softmaxOut, deltaOut] = [zeros(runtime, [b, n, h, e]), zeros(runtime, [b, n, h, e])];
    for (const [at, row] of this.rows.entries()) {
      const count = counts[at] as number;
      if (count === 0) continue;
      const part = (x: Tensor) => x.slice(0, at, at + 1).slice(1, 0, count) as Tensor<'f32'>;
      runtime.scope(() => {
        const own = { ...mapped(delta, part), route: part(given.route) };
        const made = this.#advance(row, own, signal);
        contiguous(made.out as Tensor<'f32'>, { out: part(deltaOut) });
        using keys = this.keys.fork([at]);
        const { out } = attention(contiguous(part(ofHeads.q)), keys.layer(0), {
          ...{ scale: this.params.scale, causal: true, signal },
          selection: made.selection,
        });
        contiguous(out.reshape([1, count, h, e]) as Tensor<'f32'>, { out: part(softmaxOut) });
      });
    }
    const extents = { b, n, h, e, ...this.heads } as Problem;
    return merge({ softmax: softmaxOut, delta: deltaOut }, given, this.params, extents);
  }

  /** Takes a row past its next tokens [1, count, ...]: what the delta rule finds, and which chunks softmax attention sees. */
  #advance(
    row: Moment[],
    own: Readonly<Record<'q' | 'k' | 'v' | 'g' | 'beta' | 'route', Tensor>>,
    signal: AbortSignal | undefined,
  ) {
    const { length, kept } = now(row);
    const { chunk, forget } = this.params;
    const { heads: h, d, e } = this.place;
    const open = length % chunk;
    // What the queries of the open chunk found is known already.
    const all = mapped({ ...own }, (x, name) => {
      const before = kept[name === 'q' ? 'k' : name];
      return before ? concat([before, x] as Tensor<'f32'>[], 1) : contiguous(x as Tensor<'f32'>);
    });
    const tokens = all.k.shape[1] as number;
    const chunks = Math.ceil(tokens / chunk);
    const chosen = choices(chunkMeans(all.route, chunk));
    const problem = { b: 1, n: tokens, h, d, e, ...this.heads, chunk, chunks };
    const settings = { problem, forget, counterfactual: false, control: { signal } };
    const { out, state } = deltaForward({ ...all, kept: chosen }, settings, kept.state);
    const closed = Math.floor(tokens / chunk);
    const joined = (more: Tensor) => (kept.choices ? concat([kept.choices, more] as Tensor<'f32'>[], 1) : more);
    const { q, ...left } = all;
    const rest = (x: Tensor) => contiguous(x.slice(1, closed * chunk, tokens) as Tensor<'f32'>);
    const next = {
      length: length - open + tokens,
      kept: {
        ...(tokens > closed * chunk && mapped(left, rest)),
        choices: closed > 0 ? joined(firstOf(chosen, closed)) : kept.choices,
        state,
      },
    };
    this.#replace(row, [...row, next].slice(-1 - this.place.history));
    return { out: out.slice(1, open, tokens), selection: this.#selection(joined(chosen), open, tokens) };
  }

  /** Of chunks [1, c, h], 1 where the delta rule keeps them, those that the queries from `open` on in the last ones see: chunks of their own too. */
  #selection(kept: Tensor, open: number, tokens: number) {
    const { chunk } = this.params;
    const [, c, h] = kept.shape as [number, number, number];
    const own = Math.ceil(tokens / chunk);
    const flags = map(
      (kept, query, key, { before }) => (kept === 0 || key === query + before ? 1 : 0),
      contiguous(kept.permute([0, 2, 1]) as Tensor<'f32'>).reshape([1, h, 1, c]),
      counted(kept, [own, 1]),
      counted(kept, [c]),
      { dtype: 'i32', captured: { before: c - own } },
    ) as Tensor<'i32'>;
    const queryLengths = Array.from(
      { length: own },
      (_, at) => Math.min(tokens, (at + 1) * chunk) - Math.max(open, at * chunk),
    );
    return { flags, queryLengths, keyBlock: chunk };
  }

  reach(row: number): readonly (readonly [least: number, most: number])[] {
    return (this.rows[row] as Moment[]).map(({ length }) => [length - (length % this.params.chunk), length]);
  }

  truncate(lengths: readonly number[]): void {
    this.keys.truncate(lengths);
    const { runtime } = this.place;
    for (const [at, row] of this.rows.entries()) {
      const length = lengths[at] as number;
      // The earliest, as later ones may be at fault.
      const place = this.reach(at).findIndex(([least, most]) => least <= length && length <= most);
      const moment = row[place];
      if (moment?.length === length) this.#replace(row, row.slice(0, place + 1));
      else runtime.scope(() => this.#replace(row, [...row.slice(0, Math.max(0, place)), this.#cut(moment, length)]));
    }
  }

  /** A moment when its open chunk had fewer tokens. */
  #cut({ kept }: Moment = { length: 0, kept: {} }, length: number): Moment {
    const open = length % this.params.chunk;
    const { choices, state, ...tokens } = kept;
    const cut = open > 0 ? mapped(tokens, (x) => firstOf(x, open)) : {};
    return { length, kept: length > 0 ? { choices, state, ...cut } : {} };
  }

  fork(rows: readonly number[]): NatsLinearCache {
    return this.#of(
      this.keys.fork(rows),
      rows.map((at) => this.rows[at] as Moment[]),
    );
  }

  join(others: readonly NatsLinearCache[]): NatsLinearCache {
    return this.#of(
      this.keys.join(others.map(({ keys }) => keys)),
      [this, ...others].flatMap(({ rows }) => rows),
    );
  }

  /** A cache with copies of what rows keep now. */
  #of(keys: KeyValueCache, rows: readonly (readonly Moment[])[]): NatsLinearCache {
    const { runtime } = this.place;
    const copies = rows.map((row) => {
      const { length, kept } = now(row);
      const copied = mapped(kept, (x) => contiguous(x as Tensor<'f32'>));
      for (const each of tensorsOf([{ length, kept: copied }])) runtime.keepBeyondScopes(each);
      return [{ length, kept: copied }];
    });
    return new NatsLinearCache({ ...this.place, rows: rows.length }, this.params, this.heads, keys, copies);
  }

  dispose(): void {
    this.keys.dispose();
    for (const row of this.rows) this.#replace(row, [{ length: 0, kept: {} }]);
  }

  #replace(row: Moment[], moments: readonly Moment[]): void {
    const [held, wanted] = [tensorsOf(row), tensorsOf(moments)];
    for (const each of wanted) if (!held.has(each)) this.place.runtime.keepBeyondScopes(each);
    for (const each of held) if (!wanted.has(each)) each.dispose();
    row.splice(0, row.length, ...moments);
  }
}

const now = (row: readonly Moment[]) => row.at(-1) as Moment;

const tensorsOf = (row: readonly Moment[]) =>
  new Set(row.flatMap(({ kept }) => Object.values(kept).flatMap((x) => x ?? [])));

const firstOf = (x: Tensor, count: number) => contiguous(x.slice(1, 0, count) as Tensor<'f32'>);

/** 0, 1, ... along the one axis of a shape that is longer than 1. */
const counted = ({ runtime }: Tensor, shape: readonly number[]) =>
  runtime.tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, at) => at),
    shape,
  );

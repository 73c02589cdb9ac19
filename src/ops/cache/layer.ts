import { checkOptions, checkWhole, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import { band } from '../../masks/band';
import { or } from '../../masks/combine';
import { sinks } from '../../masks/first';
import type { Mask } from '../../masks/mask';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import type { DType } from '../../tensor/dtype';
import { formatShape, frozen, type Shape, sizeOf } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import { checkTensors } from '../check';
import { choice, type Options, optional, record, whole } from '../define';
import type { Operand } from '../operand';
import { type RopeOptions, rope } from '../rope';
import { ropeSettings } from '../rope/rotation';
import type { CacheDType, CachedRow, PageLayout } from './layout';
import { PAGE_ROWS } from './params';

export const layerSettings = record({
  /** Each query sees so many tokens, its own the last; what none can see any more is evicted. Default: all are kept. */
  window: optional(whole({ least: 1 })),
  /** Beside a window, the first tokens, which are seen by all and kept. Default 0. */
  sinks: optional(whole({ least: 0 })),
});

/** What a layer keeps of the past. */
export interface CacheLayerOptions extends Options<typeof layerSettings.settings> {}

export const cacheRope = record({
  ...ropeSettings,
  /** Default: `append`. Reading copies the keys at each call; what is stored then are keys as they came. */
  apply: choice('append', 'append', 'read'),
});

/** How keys are rotated by their positions, and when: as they are appended, or each time they are read. */
export interface CacheRope extends Options<typeof cacheRope.settings> {}

/** One layer of a key-value cache, which ops take in the place of keys and values: what it holds when they are called. */
export class CacheLayer implements Operand {
  readonly isContiguous = true;

  /** Made by `layer()` of a cache. */
  constructor(
    readonly runtime: Runtime,
    readonly dtype: CacheDType,
    readonly layout: PageLayout,
    readonly options: CacheLayerOptions,
    readonly rope: CacheRope | undefined,
    private readonly current: () => readonly CachedRow[],
  ) {}

  /** What it is, such as `CacheLayer(2 heads, f16 on wasm)`. */
  toString(): string {
    return `CacheLayer(${this.layout.heads} heads, ${this.dtype} on ${this.runtime.backend.name})`;
  }

  /** [rows, heads, d, e]: key/value heads, columns of a key and of a value. */
  get shape(): Shape {
    const { heads, d, e } = this.layout;
    return frozen([this.current().length, heads, d, e]);
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  assertUsable(_use: string): void {
    this.current();
  }

  /** What it holds of each row now. */
  get rows(): readonly CachedRow[] {
    return this.current().map(({ length, pages }) => ({ length, pages: [...pages] }));
  }

  /** Tokens of each row, evicted ones among them: the position of the next. */
  get lengths(): number[] {
    return this.current().map(({ length }) => length);
  }

  /**
   * Queries rotated as the keys are, for caches with `rope`: q [rows, n, h, d], whose first `counts[r]` are the last tokens
   * of row r, that is once their keys are appended.
   *
   * @throws {ParameterError} counts that do not fit, a cache without `rope`
   */
  rotate<D extends DType>(q: Tensor<D>, options: { readonly counts?: readonly number[] | undefined } = {}): Tensor<D> {
    if (!this.rope) throw new ParameterError('rotate() needs a cache with the option rope');
    checkTensors({ q });
    checkOptions('rotate', options, ['counts']);
    q.assertUsable('q');
    if (q.runtime !== this.runtime)
      throw new ParameterError('q lives on another runtime than the cache: make both with the same runtime');
    const { lengths } = this;
    if (q.rank !== 4 || q.shape[0] !== lengths.length)
      throw new ShapeError(
        `q must have shape [${lengths.length}, n, h, d] for this cache, got ${formatShape(q.shape)}`,
      );
    const counts = checkCounts(options.counts, lengths.length, q.shape[1] ?? 0);
    return rotated(
      q,
      lengths.map((length, row) => length - (counts[row] as number)),
      this.rope,
    );
  }

  /** Which tokens queries may see by its window, if it has one. */
  get mask(): Mask | undefined {
    const { window, sinks: first = 0 } = this.options;
    if (window === undefined) return undefined;
    const near = band(window - 1, -1);
    return first > 0 ? or(near, sinks(first)) : near;
  }

  /** Throws unless all is there that the last `counts[r]` tokens of each row see by its window. */
  assertHeld(rows: readonly CachedRow[], counts: readonly number[]): void {
    const { window, sinks: first = 0 } = this.options;
    for (const [at, { length, pages }] of rows.entries()) {
      const count = counts[at] as number;
      if (count > length)
        throw new ParameterError(`counts[${at}] must be at most ${length}, the tokens of that row, got ${count}`);
      const from = Math.max(first, length - count + 1 - (window ?? length));
      const gone = pages.findIndex(
        (page, index) => !page && (index + 1) * PAGE_ROWS > from && index * PAGE_ROWS < length,
      );
      if (gone >= 0 && count > 0)
        throw new ParameterError(
          `counts[${at}] = ${count}: the first of these tokens sees some that were evicted before: attend to what was appended last`,
        );
    }
  }
}

describesItself(CacheLayer, 'CacheLayer');

/** Tokens [rows, n, heads, d] rotated by their positions, which begin at `first[r]` in row r. */
export function rotated<D extends DType>(
  x: Tensor<D>,
  first: readonly number[],
  { apply: _, ...settings }: CacheRope,
  { signal }: Control = {},
): Tensor<D> {
  const positions = positionsFrom(x.runtime, first, x.shape[1] as number);
  try {
    return rope(x, { ...settings, signal, positions });
  } finally {
    if (positions instanceof Tensor) positions.dispose();
  }
}

/**
 * Those of n tokens in each row, which begin at `first[r]`, as `rope` takes them: at most `last`, beyond which only tokens lie
 * that do not count.
 */
export function positionsFrom(
  runtime: Runtime,
  first: readonly number[],
  n: number,
  last = Number.POSITIVE_INFINITY,
): NonNullable<RopeOptions['positions']> {
  const [offset] = first as [number];
  if (offset + n - 1 <= last && first.every((position) => position === offset)) return { offset };
  const places = Int32Array.from({ length: first.length * n }, (_, at) =>
    Math.min(last, (first[Math.floor(at / n)] as number) + (at % n)),
  );
  return runtime.tensor(places, [first.length, n], 'i32');
}

/** Tokens of each row among the `n` that are given. */
export function checkCounts(counts: readonly number[] | undefined, rows: number, n: number): readonly number[] {
  if (counts === undefined) return new Array<number>(rows).fill(n);
  if (!Array.isArray(counts) || counts.length !== rows)
    throw new ParameterError(`counts must be a number for each of ${rows} rows, got ${show(counts)}`);
  for (const [at, count] of counts.entries()) checkWhole(`counts[${at}]`, count, 0, n);
  return counts;
}

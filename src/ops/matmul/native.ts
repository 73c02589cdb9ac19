/**
 * Products of many rows in float32 as machine code, in the tiles of matmul.as.ts: sums of a panel of rows and a slice of columns stay
 * in registers. Rows of a whose terms lie side by side are read where they lie, and b is packed.
 */
import type { Address, Integer, Kernel, Vector } from '../../code/kernel';
import { checkInside, type NativePlan } from '../../runtime/cpu/plan';
import type { Elements } from '../../tensor/elements';
import type { MatmulCall } from './call';
import { isFewRows, planFewRows } from './few-rows';
import { planManyRows } from './many-rows';
import { codeOfFewRows } from './native-few-rows';
import { GROUP, LeadingAxis, MatmulParams, NATIVE_SLICES } from './params';

/** Terms that are summed at a time, at most. */
const TERMS = 256;
/** Terms of a round of the inner loop. */
const ROUND = 4;

/** Rows of a panel and vectors of a slice, at most: so many sums fit into registers, with the vectors and a number beside them. */
const MOST = { avx512: { rows: 8, vectors: 3 }, avx2: { rows: 6, vectors: 2 } };

/** What code depends on besides its params. */
interface Form {
  /** Rows of a panel and vectors of a slice; rows of the last panel and columns of the last slice, if they are fewer, or 0. */
  readonly rows: number;
  readonly vectors: number;
  readonly lastRows: number;
  readonly lastColumns: number;
  /** Whether the terms of a row of a, and those of a column of b, lie side by side; if not, rows or columns do. */
  readonly alongA: boolean;
  readonly alongB: boolean;
  readonly axes: number;
  readonly isOwn: boolean;
  readonly isBiased: boolean;
}

export const planNative: NativePlan<MatmulCall> = (call, { native, threads }) => {
  const { a, b, bias, out, axes } = call;
  const alongA = isAlong(a, -1, -2);
  const alongB = isAlong(b, -2, -1);
  const isPlainBias = !bias || (bias.dtype === 'f32' && (bias.strides[0] === 1 || bias.size === 1));
  for (const x of [a, b, out, ...(bias ? [bias] : [])]) checkInside(x);
  if (isFewRows(call)) return b.dtype === 'f32' ? planFewRows(call, codeOfFewRows(call, native)) : undefined;
  // All else is WebAssembly's.
  if (alongA === undefined || alongB === undefined || !isPlainBias) return undefined;
  const { lanes, name } = native.target;
  const most = MOST[name];
  const [rows, columns] = [a.shape.at(-2) as number, b.shape.at(-1) as number];
  const panel = evenly(rows, most.rows);
  const vectors = evenly(Math.ceil(columns / lanes), most.vectors);
  const slice = vectors * lanes;
  return planManyRows(call, threads, {
    ...{ panel, slice, terms: TERMS, ownTerms: TERMS, mostPanels: 32, fewestSlices: 2 },
    mostSlices: Math.floor(NATIVE_SLICES / TERMS / slice),
    code(isOwn) {
      const form: Form = {
        ...{ rows: panel, vectors, lastRows: rows % panel, lastColumns: columns % slice },
        ...{ alongA, alongB, axes: axes.length, isOwn, isBiased: bias !== undefined },
      };
      const key = Object.values(form).join();
      return {
        packSlices: isOwn ? 0 : native.kernel(`packSlices ${key}`, (k) => packSlices(k, form)),
        matmul: native.kernel(`matmul ${key}`, (k) => matmul(k, form)),
      };
    },
  });
};

/** Whether an axis of a matrix in float32 lies side by side, or else another; undefined if neither does. */
function isAlong({ dtype, shape, strides }: Elements, axis: number, other: number): boolean | undefined {
  if (dtype !== 'f32') return undefined;
  const isDense = (axis: number) => strides.at(axis) === 1 || shape.at(axis) === 1;
  return isDense(axis) ? true : isDense(other) ? false : undefined;
}

/** Parts of a count, of at most so many, that are about as large as each other. */
const evenly = (count: number, most: number): number => Math.ceil(count / Math.ceil(count / most));

const paramsOf = (k: Kernel, { axes }: Form) => ({
  ...k.params(MatmulParams),
  leading: Array.from({ length: axes }, () => k.params(LeadingAxis)),
});
type Params = ReturnType<typeof paramsOf>;

const parts = (k: Kernel, count: Integer, size: number) => count.plus(size - 1).over(k.integer(size));

/** Some slices of one block of terms: a packed matrix is [blocks][slices][terms][columns of a slice]. */
function packSlices(k: Kernel, form: Form): void {
  const p = paramsOf(k, form);
  const width = form.vectors * k.lanes;
  const all = parts(k, p.b.lanes(), width);
  const groups = parts(k, all, GROUP);
  const [depth, most] = [p.depth(), p.terms()];
  const blocks = depth.plus(most).minus(1).over(most);
  const block = k.task.over(groups);
  const matrix = block.over(blocks);
  const first = block.remainder(blocks).times(most);
  const terms = most.least(depth.minus(first));
  const slice = k.task.remainder(groups).times(GROUP);
  const place = k.integer(0);
  for (const axis of p.leading) {
    const packed = axis.packed();
    k.if(packed, '!=', 0, () => place.add(matrix.over(packed).remainder(axis.extent()).times(axis.b())));
  }
  const elements = matrix.times(depth).plus(first).times(all).plus(slice.times(terms));
  const to = p
    .packed()
    .plus(k.base)
    .plus(elements.times(4 * width));
  pack(k, form, p, place, slice, slice.plus(GROUP).least(all), first, terms, to);
}

/** Slices of the matrix at an element of b, one after the other, as [terms][columns]; columns past the last are 0 up to a whole vector. */
function pack(
  k: Kernel,
  form: Form,
  { b }: Params,
  matrix: Integer,
  slice: Integer,
  past: Integer,
  first: Integer,
  terms: Integer,
  to: Integer,
): void {
  const { vectors, lastColumns, alongB } = form;
  const width = vectors * k.lanes;
  const [lane, term, columns] = [b.lane(), b.term(), b.lanes()];
  const from = matrix
    .plus(slice.times(width).times(lane))
    .plus(first.times(term))
    .times(4)
    .plus(b.address())
    .plus(k.base);
  const one = alongB ? packAlong : packAcross;
  k.range('slices', slice, past, 1, (at) => {
    const whole = () => one(k, width, width, from, alongB ? lane : term, terms, to);
    const last = () => one(k, width, lastColumns, from, alongB ? lane : term, terms, to);
    if (lastColumns === 0) whole();
    else k.if(at.plus(1).times(width), '<=', columns, whole, last);
    from.add(lane.times(4 * width));
    to.add(terms.times(4 * width));
  });
}

/** Columns of a row of b lie side by side. */
function packAcross(
  k: Kernel,
  width: number,
  columns: number,
  b: Integer,
  term: Integer,
  terms: Integer,
  slice: Integer,
): void {
  const [from, to, step] = [b.copy(), slice.copy(), term.times(4)];
  k.range('terms of a slice', 0, terms, 1, () => {
    for (let column = 0; column < columns; column += k.lanes)
      loadFirst(k, from.at(4 * column), columns - column).store(to.at(4 * column));
    from.add(step);
    to.add(4 * width);
  });
}

/** So many numbers, at most as many as there are lanes. */
const loadFirst = (k: Kernel, from: Address, count: number): Vector =>
  k.load(from, count < k.lanes ? k.integer(count) : undefined);

/** Terms of a column of b lie side by side. */
function packAlong(
  k: Kernel,
  width: number,
  columns: number,
  b: Integer,
  lane: Integer,
  terms: Integer,
  slice: Integer,
): void {
  const step = lane.times(4);
  for (let column = 0; column < columns; column += k.lanes) {
    const count = Math.min(k.lanes, columns - column);
    const from = k.rows(b.plus(step.times(column)), step, count);
    const to = slice.plus(4 * column);
    const rows = (most?: Integer) =>
      Array.from({ length: k.lanes }, (_, row) => (row < count ? k.load(from.at(row), most) : k.number(0)));
    k.range('terms of a slice', k.lanes - 1, terms, k.lanes, () => {
      for (const [at, each] of k.transposed(rows()).entries()) each.store(to.at(4 * width * at));
      from.add(k.bytes);
      to.add(4 * width * k.lanes);
    });
    const rest = terms.remainder(k.integer(k.lanes));
    k.if(rest, '>', 0, () => {
      const turned = k.transposed(rows(rest));
      for (let at = 0; at < k.lanes - 1; at++)
        k.if(rest, '>', at, () => (turned[at] as Vector).store(to.at(4 * width * at)));
    });
  }
}

/** A tile of the result. */
function matmul(k: Kernel, form: Form): void {
  const p = paramsOf(k, form);
  const { rows: panelRows, vectors, lastRows, lastColumns, alongA, isOwn, isBiased } = form;
  const width = vectors * k.lanes;
  const [rows, columns, depth, most] = [p.a.lanes(), p.b.lanes(), p.depth(), p.terms()];
  const panels = parts(k, rows, panelRows);
  const slices = parts(k, columns, width);
  const [tilePanels, tileSlices] = [p.panels(), p.slices()];
  const across = slices.plus(tileSlices).minus(1).over(tileSlices);
  const down = panels.plus(tilePanels).minus(1).over(tilePanels);
  const tiles = across.times(down);
  const batch = k.task.over(tiles);
  const tile = k.task.remainder(tiles);
  const firstPanel = tile.over(across).times(tilePanels);
  const firstSlice = tile.remainder(across).times(tileSlices);
  const pastPanel = firstPanel.plus(tilePanels).least(panels);
  const pastSlice = firstSlice.plus(tileSlices).least(slices);
  const [ofA, ofB, matrix, index] = [k.integer(0), k.integer(0), k.integer(0), batch.copy()];
  for (const axis of [...p.leading].reverse()) {
    const [extent, at] = [axis.extent(), k.integer(0)];
    at.set(index.remainder(extent));
    ofA.add(at.times(axis.a()));
    ofB.add(at.times(axis.b()));
    matrix.add(at.times(axis.packed()));
    index.set(index.over(extent));
  }
  const outStep = columns.times(4);
  const out = p.out().plus(k.base).plus(batch.times(rows).times(outStep));
  const [lane, term] = [p.a.lane().times(4), p.a.term().times(4)];
  const a = p.a.address().plus(k.base).plus(ofA.times(4));
  const bias = isBiased ? p.bias().plus(k.base) : undefined;
  const panelAt = k.scratch;
  const ownSlices = k.scratch.plus(4 * 8 * TERMS);

  k.range('blocks', 0, depth, most, (first) => {
    const terms = most.least(depth.minus(first));
    const isFirst = first;
    const isLast = depth.minus(first).minus(terms);
    const rounds = terms.minus(ROUND - 1);
    const sliceBytes = terms.times(4 * width);
    const packed = k.integer(0);
    if (isOwn) {
      pack(k, form, p, ofB, firstSlice, pastSlice, first, terms, ownSlices.copy());
      packed.set(ownSlices);
    } else {
      const elements = matrix.times(depth).plus(first).times(slices).plus(firstSlice.times(terms));
      packed.set(
        p
          .packed()
          .plus(k.base)
          .plus(elements.times(4 * width)),
      );
    }
    k.range('panels', firstPanel, pastPanel, 1, (panel) => {
      const row = panel.times(panelRows);
      const left = a.plus(row.times(lane)).plus(first.times(term));
      const right = packed.copy();
      const place = out.plus(row.times(outStep)).plus(firstSlice.times(4 * width));
      const withRows = (count: number) => {
        if (!alongA) packPanel(k, count, left, term, terms, panelAt);
        k.range('slices', firstSlice, pastSlice, 1, (slice) => {
          const product = (columnsHere: number) =>
            productOf(k, {
              ...{ rows: count, columns: columnsHere, width, terms, rounds, isFirst, isLast, place, outStep },
              ...{ left: alongA ? left : panelAt, step: alongA ? lane : undefined, right },
              bias: bias?.plus(slice.times(4 * width)),
            });
          if (lastColumns === 0) product(width);
          else
            k.if(
              slice.plus(1).times(width),
              '<=',
              columns,
              () => product(width),
              () => product(lastColumns),
            );
          right.add(sliceBytes);
          place.add(4 * width);
        });
      };
      if (lastRows === 0) withRows(panelRows);
      else
        k.if(
          row.plus(panelRows),
          '<=',
          rows,
          () => withRows(panelRows),
          () => withRows(lastRows),
        );
    });
  });
}

/** Rows of a that lie side by side, as [terms][rows]. */
function packPanel(k: Kernel, rows: number, a: Integer, term: Integer, terms: Integer, panel: Integer): void {
  const [from, to] = [a.copy(), panel.copy()];
  const count = k.integer(rows);
  k.range('terms of a panel', 0, terms, 1, () => {
    k.load(from.at(), count).store(to.at(), count);
    from.add(term);
    to.add(4 * rows);
  });
}

interface Product {
  readonly rows: number;
  readonly columns: number;
  /** Columns of a packed slice. */
  readonly width: number;
  readonly terms: Integer;
  /** `ROUND` - 1 terms less. */
  readonly rounds: Integer;
  /** 0 in the first block of terms, and in the last one. */
  readonly isFirst: Integer;
  readonly isLast: Integer;
  readonly left: Integer;
  /** From row to row; undefined for a packed panel. */
  readonly step: Integer | undefined;
  readonly right: Integer;
  readonly place: Integer;
  readonly outStep: Integer;
  readonly bias: Integer | undefined;
}

/** The sums of a panel and a slice over a block of terms, added to what is there. */
function productOf(
  k: Kernel,
  { rows, columns, width, terms, rounds, isFirst, isLast, left, step, right, place, outStep, bias }: Product,
): void {
  const vectors = Math.ceil(columns / k.lanes);
  const rest = columns % k.lanes;
  const count = rest > 0 ? k.integer(rest) : undefined;
  const countOf = (v: number) => (v === vectors - 1 ? count : undefined);
  const each = (body: (sum: Vector, place: Address, v: number) => void) => {
    const row = place.copy();
    sums.forEach((of, at) => {
      for (const [v, sum] of of.entries()) body(sum, row.at(v * k.bytes), v);
      if (at < rows - 1) row.add(outStep);
    });
  };
  const sums = Array.from({ length: rows }, () => Array.from({ length: vectors }, () => k.number(0)));
  k.if(isFirst, '>', 0, () => each((sum, at, v) => sum.set(k.load(at, countOf(v)))));

  const b = right.copy();
  const packed = left.copy();
  const a = step
    ? k.rows(left, step, rows)
    : {
        at: (row: number, offset = 0) => packed.at(rows * offset + 4 * row),
        add: (bytes: number) => packed.add(rows * bytes),
      };
  const some = (count: number) => () => {
    for (let term = 0; term < count; term++) {
      const right = Array.from({ length: vectors }, (_, v) => k.load(b.at(4 * width * term + v * k.bytes)));
      sums.forEach((of, row) => {
        const number = k.splat(a.at(row, 4 * term));
        for (const [v, sum] of of.entries()) sum.addProduct(number, right[v] as Vector);
      });
    }
    b.add(4 * width * count);
    a.add(4 * count);
  };
  const done = k.integer(0);
  k.range('terms', 0, rounds, ROUND, (at) => {
    some(ROUND)();
    done.set(at.plus(ROUND));
  });
  k.range('last terms', done, terms, 1, some(1));

  if (bias) {
    k.if(isLast, '==', 0, () => {
      for (let v = 0; v < vectors; v++) {
        const added = k.load(bias.at(v * k.bytes), countOf(v));
        for (const of of sums) (of[v] as Vector).set((of[v] as Vector).plus(added));
      }
    });
  }
  each((sum, at, v) => sum.store(at, countOf(v)));
}

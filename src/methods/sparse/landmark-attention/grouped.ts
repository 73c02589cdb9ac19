/** Grouped softmax out of other ops, a block of queries at a time, so that it takes O(n) memory. */
import { cast, concat, contiguous } from '../../../ops/copy';
import { add, multiply } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { logSumExp, sum } from '../../../ops/reduce';
import { scatterAdd } from '../../../ops/scatter-add';
import { softmax } from '../../../ops/softmax';
import { topK } from '../../../ops/top-k';
import type { Control } from '../../../runtime/backend';
import { recompute, stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import type { LandmarkInputs, LandmarkParams } from './reference';

export interface Grouping extends LandmarkParams {
  readonly scale: number;
  /** What is opened is left out where the context-miss token weighs less. Default 0. */
  readonly missBelow?: number | undefined;
}

/** The score of what is not seen, whose exponential is 0. */
const UNSEEN = -1e30;

/** Keys and values as products take them: what is before a block of queries, and the block. */
interface Parts {
  /** [b, g, rows, d]: the queries of the heads that share keys, one head after the other. */
  readonly q: Tensor;
  /** Regular tokens, [b, g, t l, d] and [b, g, t l, e], and landmarks, [b, g, t, d], of t earlier blocks; none before the first. */
  readonly k?: Tensor | undefined;
  readonly v?: Tensor | undefined;
  readonly landmarks?: Tensor | undefined;
  /** Keys and values of the own block, [b, g, w, d] and [b, g, w, e]. */
  readonly ownK: Tensor;
  readonly ownV: Tensor;
  /** Blocks that each row has opened by itself, if any. */
  readonly opened?: Opened | undefined;
  /** The key of the context-miss token, [1, g, 1, d], which stands before what is opened, and before earlier blocks where `gated` [t] is not 0. */
  readonly miss?: Tensor | undefined;
  readonly gated?: Tensor | undefined;
}

/** k blocks of each row: scores of their landmarks [b, g, rows, k] and tokens [b, g, rows, k, l], and values [b g rows, k l, e]. */
export interface Opened {
  readonly gates: Tensor;
  readonly scores: Tensor;
  readonly values: Tensor;
}

/** Row r of `count` rows of a head sees the first `first + r + 1` keys of its own block. */
interface Rows {
  readonly first: number;
  readonly count: number;
}

/** q [b, n, h, d], k [b, n, g, d], v [b, n, g, e], f32, contiguous -> [b, n, h, e]. */
export function groupedAttention(
  { q, k, v, miss, gated }: LandmarkInputs<Tensor>,
  grouping: Grouping,
  control: Control = {},
): Tensor<'f32'> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [g, e] = v.shape.slice(2) as [number, number];
  const size = grouping.block + 1;
  const scaled = map((x, { scale }) => scale * x, q, { captured: { scale: grouping.scale } });
  const parts = splitKeys(k, v, grouping.block);
  const gates = missed(miss, gated, size);
  const outs = Array.from({ length: Math.ceil(n / size) }, (_, at) => {
    const [first, past] = [at * size, Math.min(n, (at + 1) * size)];
    const rows = { first: 0, count: past - first };
    const own = contiguous(
      scaled
        .slice(1, first, past)
        .reshape([b, rows.count, g, h / g, d])
        .permute([0, 2, 3, 1, 4]),
    ).reshape([b, g, -1, d]);
    const attend = (given: Parts) => attendRows(given, rows, grouping, control);
    const out = recompute(attend, { q: own, ...parts.before(at), ...parts.own(at), ...gates(at) });
    return contiguous(out.reshape([b, g, h / g, rows.count, e]).permute([0, 3, 1, 2, 4]));
  });
  return concat(outs as Tensor<'f32'>[], 1).reshape([b, n, h, e]);
}

/** What `Parts` has of a context-miss token for the block with this number: its key [g, d], and what stands behind it of n tokens. */
export function missed(miss: Tensor | undefined, gated: Tensor | undefined, size: number) {
  if (!miss || !gated) return () => ({});
  const key = keyOfMiss(miss);
  const blocks = Math.floor((gated.shape[0] as number) / size);
  const ofBlocks = gated
    .slice(0, 0, blocks * size)
    .reshape([blocks, size])
    .slice(1, size - 1, size);
  const all = cast(contiguous(ofBlocks as Tensor<'i32'>), 'f32').reshape([blocks]);
  return (at: number) => (at === 0 ? {} : { miss: key, gated: all.slice(0, 0, at) });
}

export const keyOfMiss = (miss: Tensor): Tensor =>
  miss.reshape([1, miss.shape[0] as number, 1, miss.shape[1] as number]);

/** Keys and values by heads, and views of what is before a block and in it. */
export function splitKeys(k: Tensor, v: Tensor, block: number) {
  const [b, n, g] = k.shape as [number, number, number];
  const size = block + 1;
  const whole = Math.floor(n / size);
  const byHead = (x: Tensor) => contiguous(x.permute([0, 2, 1, 3]));
  const [keys, values] = [byHead(k), byHead(v)];
  const inBlocks = (x: Tensor) => x.slice(2, 0, whole * size).reshape([b, g, whole, size, -1]);
  const regular = (x: Tensor) => contiguous(inBlocks(x).slice(3, 0, block)).reshape([b, g, whole * block, -1]);
  const ready = whole > 0 ? { k: regular(keys), v: regular(values), landmarks: landmarksOf() } : undefined;
  function landmarksOf() {
    return contiguous(inBlocks(keys).slice(3, block, size)).reshape([b, g, whole, -1]);
  }
  return {
    before(at: number) {
      if (at === 0 || !ready) return {};
      const first = (x: Tensor, count: number) => x.slice(2, 0, count);
      return { k: first(ready.k, at * block), v: first(ready.v, at * block), landmarks: first(ready.landmarks, at) };
    },
    own(at: number) {
      const past = Math.min(n, at * size + block);
      return { ownK: keys.slice(2, at * size, past), ownV: values.slice(2, at * size, past) };
    },
  };
}

export function attendRows(parts: Parts, rows: Rows, grouping: Grouping, control: Control): Tensor {
  const { near, gated, far } = weightsOf(parts, rows, grouping, control);
  const [b, g, count, e] = [...near.shape.slice(0, 3), parts.ownV.shape[3]] as [number, number, number, number];
  const sums = [matmul(near, parts.ownV, control)];
  if (gated) sums.push(matmul(gated, parts.v as Tensor, control));
  if (far) {
    const each = far.reshape([b * g * count, 1, -1]);
    sums.push(matmul(each, (parts.opened as Opened).values, control).reshape([b, g, count, e]));
  }
  return sums.reduce((sum, each) => add(sum, each));
}

/**
 * The weights of the own block, [b, g, rows, w], and if there are such, of the regular tokens of earlier blocks, [b, g, rows, t l], and
 * of opened ones, [b, g, rows, k l].
 */
export function weightsOf(parts: Parts, { first, count }: Rows, grouping: Grouping, control: Control) {
  const { block, topBlocks, missBelow = 0 } = grouping;
  const { q, k, landmarks, ownK, opened, miss, gated: behind } = parts;
  const [b, g, rows, w] = [...q.shape.slice(0, 3), ownK.shape[2]] as [number, number, number, number];
  const products = (keys: Tensor): Tensor => matmul(q, keys, { transposeB: true, ...control });
  const seen = q.runtime.tensor(
    Float32Array.from({ length: count * w }, (_, at) => (at % w <= first + Math.floor(at / w) ? 0 : UNSEEN)),
    [1, 1, 1, count, w],
  );
  const near = add(products(ownK).reshape([b, g, rows / count, count, w]), seen).reshape([b, g, rows, w]);
  const plain = landmarks && openedOnly(products(landmarks) as Tensor<'f32'>, topBlocks);
  const ofMiss = miss && products(miss);
  const gates = plain && ofMiss && behind ? behindMiss(plain, ofMiss, behind) : plain;
  const far = opened && (ofMiss ? behindMiss(opened.gates, ofMiss) : opened.gates);
  const all = [near, ...(gates ? [gates] : []), ...(far ? [far] : [])];
  const [before, past] = [w + (gates?.shape[3] ?? 0), all.reduce((sum, { shape }) => sum + (shape[3] as number), 0)];
  const drawn = softmax(all.length === 1 ? near : concat(all as Tensor<'f32'>[], 3));
  const shares = ofMiss && missBelow > 0 && past > before ? withoutFew(drawn, before, missBelow) : drawn;
  /** Weights within blocks, times those of their landmarks, which are shares from `from` on. */
  const within = (scores: Tensor, from: number, to: number) => {
    const own = softmax(scores.reshape([b, g, rows, to - from, block]));
    return multiply(own, shares.slice(3, from, to).reshape([b, g, rows, to - from, 1])).reshape([b, g, rows, -1]);
  };
  return {
    near: contiguous(shares.slice(3, 0, w)),
    gated: gates && within(products(k as Tensor), w, before),
    far: opened && within(opened.scores, before, past),
  };
}

/** Scores of landmarks [b, g, rows, t] that share out the weight of a score [b, g, rows, 1] before them, all or where `gated` [t] is not 0. */
function behindMiss(scores: Tensor, miss: Tensor, gated?: Tensor): Tensor {
  const captured = { captured: { unseen: UNSEEN } };
  const own = gated
    ? map((score, gated, { unseen }) => (gated === 0 ? unseen : score), scores, gated, captured)
    : scores;
  const all = logSumExp(own as Tensor, { axes: [3], keepDims: true });
  // What is not seen stays so, alone too.
  const shared = map(
    (score, miss, all, { unseen }) => (score > unseen / 2 ? score + miss - all : unseen),
    scores,
    miss,
    all,
    captured,
  );
  return gated
    ? (map((score, shared, gated) => (gated === 0 ? score : shared), scores, shared, gated) as Tensor)
    : (shared as Tensor);
}

/** Weights whose part from `from` on is left out, and the others weigh 1, where its sum is less than `least`. */
function withoutFew(shares: Tensor, from: number, least: number): Tensor {
  const [b, g, rows, past] = shares.shape as [number, number, number, number];
  const held = sum(contiguous(shares.slice(3, from, past) as Tensor<'f32'>), { axes: [3], keepDims: true });
  const isFar = shares.runtime.tensor(
    Float32Array.from({ length: past }, (_, at) => Number(at >= from)),
    [past],
  );
  return map(
    (share, held, far, { least }) => (held >= least ? share : far > 0 ? 0 : share / (1 - held)),
    shares,
    held.reshape([b, g, rows, 1]),
    isFar,
    { captured: { least } },
  ) as Tensor;
}

/** The scores of the landmarks of the blocks that a row opens; those of the others vanish. No gradient passes through the choice. */
function openedOnly(gates: Tensor<'f32'>, topBlocks: number | undefined): Tensor<'f32'> {
  const blocks = gates.shape[3] as number;
  if (topBlocks === undefined || topBlocks >= blocks) return gates;
  const { runtime } = gates;
  const { indices } = topK(stopGradient(gates), topBlocks);
  const rows = indices.reshape([-1, topBlocks]);
  const starts = runtime.tensor(
    Int32Array.from({ length: rows.shape[0] as number }, (_, row) => row * blocks),
    [rows.shape[0] as number, 1],
  );
  const places = map((at, start) => at + start, rows, starts).reshape([-1]);
  const ones = runtime.tensor(new Float32Array(places.size).fill(1), [places.size, 1]);
  const isOpen = scatterAdd(ones, places, gates.size).reshape(gates.shape);
  return map((gate, open, { unseen }) => (open > 0 ? gate : unseen), gates, isOpen, {
    captured: { unseen: UNSEEN },
  }) as Tensor<'f32'>;
}

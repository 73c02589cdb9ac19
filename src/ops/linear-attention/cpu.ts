/** Plans of linear attention's calls: how a pass is cut, and gradients as passes over other operands. */

import type { HeapMemory } from '../../runtime/cpu/heap';
import { type Operand, PANEL, SLICE } from '../../runtime/cpu/params';
import {
  address,
  contiguous,
  F32,
  FLOPS_PER_MICROSECOND,
  headsOfTask,
  type Job,
  type Machine,
  NO_OPERAND,
  operand,
  type Phase,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import type { Values } from '../../runtime/cpu/struct';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { LinearAttentionBackwardCall, LinearAttentionCall, LinearAttentionStepCall } from './call';
import { CHUNK, HeadSumsParams, MOST_COLUMNS, PassParams, QuotientParams, RUN, StepParams } from './params.generated';

/** Heads, parts of columns and segments make about so many tasks, if not causal, or if threads outnumber heads. */
const TASKS = 8;
/** The fewest slices of a part: with fewer too much of its work is the scores, which every part computes. */
const PART_SLICES = 8;
/** The fewest chunks of a segment, if the rows are cut. */
const LEAST_CHUNKS = 32;
const STEP_NUMBERS_PER_MICROSECOND = 2000;

/** Some of the d features: more than a pass takes go in blocks, whose outputs add up. */
interface Block {
  readonly from: number;
  readonly size: number;
}

/** Rows of a tensor as the kernels read them, and whether a column of ones follows. */
interface Rows {
  readonly operand: Values<typeof Operand>;
  readonly columns: number;
  readonly ones: boolean;
  readonly heads: number;
  /** Columns without a normaliser's, those of states in memory. */
  readonly own: number;
}

/** One pass of the kernels over the rows. */
interface Pass {
  readonly b: number;
  readonly h: number;
  readonly n: number;
  readonly m: number;
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  readonly causal: boolean;
  /** From the last row to the first. */
  readonly reverse: boolean;
  readonly out: Written;
  readonly normaliser?: { readonly denominator: number; readonly epsilon: number } | undefined;
  /** States [b, h, feature, column]. */
  readonly initial?: Tensor | undefined;
  readonly initialSum?: Tensor | undefined;
  readonly final?: Tensor | undefined;
  readonly finalSum?: Tensor | undefined;
  /** Read the initial state [b, h, column, feature]: its sum of keys is then the last feature's row. */
  readonly transposed?: boolean;
  /** f32 [b, n, h, columns], perhaps `out`: where blocks of features add up their outputs. */
  readonly sums?: number;
}

/** Rows [b, n, h, columns]. */
interface Written {
  readonly address: number;
  readonly dtype: number;
  readonly columns: number;
}

/**
 * Where a pass is cut. Not causal, sums of segments are added up, so that their bits follow from the cuts, and these from
 * the shapes only. Causal passes have the same bits however they are cut: only where threads outnumber heads, since the
 * states that segments start from are worked out twice.
 */
function cutsOf(shape: Omit<Pass, 'q' | 'k' | 'v' | 'out'>, e: number, threads: number) {
  const { b, h, n, m, causal, normaliser } = shape;
  const heads = b * h;
  const slices = Math.ceil(e / SLICE);
  const tasks = !causal ? TASKS : heads < threads ? Math.min(TASKS, threads) : 1;
  const part = (wanted: number) => {
    const size = Math.ceil(slices / wanted);
    return { count: Math.ceil(slices / size), slices: size };
  };
  // Results with a denominator need its column.
  const parts = part(normaliser ? 1 : Math.min(Math.ceil(tasks / heads), Math.ceil(slices / PART_SLICES)));
  const cut = (rows: number) => {
    const chunks = Math.ceil(rows / CHUNK);
    const size = Math.max(LEAST_CHUNKS, Math.ceil(chunks / Math.ceil(tasks / (heads * parts.count))));
    return { count: Math.ceil(chunks / size), chunks: size };
  };
  return {
    heads,
    slices,
    parts,
    segments: cut(m),
    tiles: cut(causal ? m : n),
    stateParts: causal ? part(Math.min(slices, Math.ceil(tasks / heads))) : parts,
  };
}

/** The bytes of the largest pass, each over some of the d features, which are its columns if `transposed`. */
function statesBytes(
  shape: Omit<Pass, 'q' | 'k' | 'v' | 'out'>,
  { d, e, transposed = false }: { readonly d: number; readonly e: number; readonly transposed?: boolean },
  threads: number,
): number {
  const bytes = blocksOf(d).map(({ size }) => {
    const [rows, columns] = transposed ? [e, size] : [size, e];
    const { heads, slices, segments } = cutsOf(shape, columns, threads);
    return heads * segments.count * slices * Math.ceil(rows / PANEL) * PANEL * SLICE * 4;
  });
  return Math.max(...bytes);
}

/** As alike as slices allow. */
function blocksOf(d: number): Block[] {
  const count = Math.ceil(d / MOST_COLUMNS);
  const size = Math.ceil(d / count / SLICE) * SLICE;
  return Array.from({ length: count }, (_, at) => ({ from: at * size, size: Math.min(size, d - at * size) }));
}

/** Where a pass has its decays and states. */
interface Memory {
  readonly decays: number;
  readonly states: number;
}

/** A pass over d features, block by block; they are its columns if the state is transposed. */
function passJobs(pass: Pass, d: number, memory: Memory, threads: number): Job[] {
  const blocks = blocksOf(d);
  return blocks.map((block, at) => {
    const place = { block, d, isFirst: at === 0, isLast: at === blocks.length - 1 };
    return job(pass, place, memory, threads);
  });
}

interface Place {
  readonly block: Block;
  /** All features. */
  readonly d: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

function job(pass: Pass, { block, d: width, isFirst, isLast }: Place, memory: Memory, threads: number): Job {
  const { b, h, n, m, causal, reverse, normaliser, transposed = false, sums = 0 } = pass;
  const [q, k] = transposed ? [pass.q, pass.k] : [columnsOf(pass.q, block), columnsOf(pass.k, block)];
  const v = transposed ? columnsOf(pass.v, block) : pass.v;
  const unfinished = !(transposed || isLast);
  const out = transposed
    ? { ...pass.out, address: pass.out.address + block.from * bytesOf(pass.out.dtype), columns: block.size }
    : unfinished
      ? { ...pass.out, address: sums, dtype: F32 }
      : pass.out;
  const d = k.columns + Number(k.ones);
  const e = v.columns + Number(v.ones);
  const { heads, slices, parts, stateParts, segments, tiles } = cutsOf(pass, e, threads);
  // Which heads go together changes no bits either.
  const group = Math.min(heads, headsOfTask(causal ? heads : heads * parts.count * tiles.count, threads));
  const groups = Math.ceil(heads / group);
  const problem = { h, heads, group, n, m, d, e, causal, reverse, q, k, v };
  const flops = b * h * (causal ? n * (CHUNK * (d + e) + 4 * d * e) : 2 * (n + m) * d * e);
  const states: Phase = { kernel: 'linearStates', tasks: groups * stateParts.count * (causal ? 1 : segments.count) };
  const total: Phase = { kernel: 'linearTotal', tasks: heads * slices };
  const before = !causal ? [states, total] : segments.count > 1 ? [states] : [];
  return {
    phases: [...before, { kernel: 'linearOutputs', tasks: groups * parts.count * tiles.count, main: true }],
    params: PassParams({
      ...memory,
      ...problem,
      unfinished,
      segments: segments.count,
      segmentChunks: segments.chunks,
      tiles: tiles.count,
      tileChunks: tiles.chunks,
      parts: parts.count,
      partSlices: parts.slices,
      stateParts: stateParts.count,
      statePartSlices: stateParts.slices,
      out,
      outColumns: out.columns,
      outWidth: pass.out.columns,
      before: transposed || isFirst ? 0 : sums,
      denominators: normaliser?.denominator ?? 0,
      epsilon: normaliser?.epsilon ?? 0,
      initialSums: sumsFrom(pass.initialSum, block),
      finalSums: sumsFrom(pass.finalSum, block),
      sumsAcross: transposed,
      sumsWidth: width,
      stateFeatures: k.own,
      stateColumns: v.own,
      initial: stateOperand(pass.initial, block, transposed),
      final: stateOperand(pass.final, block),
    }),
    microseconds: flops / FLOPS_PER_MICROSECOND,
  };
}

function rowsOf(x: Tensor, ones = false): Rows {
  const [, , heads, columns] = x.shape as [number, number, number, number];
  return { operand: operand(x), columns, ones, heads, own: columns };
}

/** A block of the columns of rows without one of ones. */
function columnsOf(rows: Rows, { from, size }: Block): Rows {
  if (rows.columns === size) return rows;
  const { address, element, dtype } = rows.operand;
  const operand = { ...rows.operand, address: address + from * element * bytesOf(dtype) };
  return { ...rows, operand, columns: size, own: size };
}

/** Where the sums of some features begin; 0 for none. */
const sumsFrom = (sums: Tensor | undefined, { from }: Block) => (sums ? address(sums) + from * 4 : 0);

/** Some rows of a state [b, h, d, e] as the operand [batch, feature, head, column]. */
function stateOperand(x: Tensor | undefined, { from }: Block, transposed = false) {
  if (!x) return NO_OPERAND;
  const [batch, head, row, column] = x.strides as [number, number, number, number];
  const [feature, element] = transposed ? [column, row] : [row, column];
  return { address: address(x) + from * row * 4, dtype: F32, batch, row: feature, head, element };
}

const written = (x: Tensor): Written => ({ ...contiguous(x), columns: x.shape[3] as number });

/** Where blocks of features add up: in the rows themselves, or beside them if these are to be rounded. */
const target = (out: Written, sums: number) => ({ out, sums: out.dtype === F32 ? out.address : sums });

function sumsBytes(out: Tensor, d: number): number {
  return out.dtype === 'f32' || d <= MOST_COLUMNS ? 0 : sizeOf(out.shape) * 4;
}

/** The bytes of a number, by its dtype's code: f32, or f16 and bf16. */
const bytesOf = (dtype: number) => (dtype === F32 ? 4 : 2);

export function planLinearAttention(call: LinearAttentionCall, { memory, threads }: Machine): Plan {
  const { q, k, v, out, initial, final, causal, decay, normaliser } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const ones = normaliser !== undefined;
  const m = k.shape[1] as number;
  const ends = { initial: initial.state, initialSum: initial.keySum, final: final.state, finalSum: final.keySum };
  const forwards = { b, h, n, m, causal, reverse: false };
  const shape = {
    ...forwards,
    ...ends,
    normaliser: normaliser && { denominator: address(normaliser.denominator), epsilon: normaliser.epsilon },
  };
  const states = statesBytes(shape, { d, e: (v.shape[3] as number) + Number(ones) }, threads);
  return withMemory({ decays: h * 8, states, sums: sumsBytes(out, d) }, ({ decays, states, sums }) => {
    writeDecays(decay, memory, decays);
    const pass = { ...shape, q: rowsOf(q), k: rowsOf(k), v: rowsOf(v, ones), ...target(written(out), sums) };
    return passJobs(pass, d, { decays, states }, threads);
  });
}

/**
 * With V' and dO' the values and the gradients with respect to the sums above the denominators, both with a normaliser's
 * column: dQ is the pass over dO', V' and K from the transposed state; dV and dK are, in reverse and from the gradient with
 * respect to the last state, the passes over K, Q and dO' and over V', dO' and Q.
 */
export function planLinearAttentionBackward(call: LinearAttentionBackwardCall, { memory, threads }: Machine): Plan {
  const { q, k, v, initial, causal, decay, normalised, gradOut, gradFinal, gradQ, gradK, gradV, gradInitial } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const ones = normalised !== undefined;
  const wide = e + Number(ones);
  const shared = g < h;
  const forwards = { b, h, n, m, causal, reverse: false };
  const backwards = { b, h, n: m, m: n, causal, reverse: causal };
  const bytes = {
    decays: h * 8,
    statesQ: statesBytes(forwards, { d, e: wide, transposed: true }, threads),
    statesV: statesBytes(backwards, { d, e: wide }, threads),
    statesK: statesBytes(backwards, { d, e: wide, transposed: true }, threads),
    sums: shared ? 0 : sumsBytes(gradV, d),
    quotients: ones ? b * n * h * wide * 4 : 0,
    headsV: shared ? b * m * h * e * 4 : 0,
    headsK: shared ? b * m * h * d * 4 : 0,
  };
  return withMemory(bytes, ({ decays, statesQ, statesV, statesK, sums, quotients, headsV, headsK }) => {
    writeDecays(decay, memory, decays);
    const [queries, keys, values] = [rowsOf(q), rowsOf(k), rowsOf(v, ones)];
    const strides = { batch: n * h * wide, row: h * wide, head: wide, element: 1 };
    const byOut = ones
      ? { operand: { address: quotients, dtype: F32, ...strides }, columns: wide, ones: false, heads: h, own: e }
      : rowsOf(gradOut);
    const ofHeads = (x: Tensor, heads: number) =>
      shared ? { address: heads, dtype: F32, columns: x.shape[3] as number } : written(x);
    const fromInitial = { initial: initial.state, initialSum: initial.keySum, transposed: true };
    const fromFinal = { initial: gradFinal.state, initialSum: gradFinal.keySum };
    const toInitial = { final: gradInitial.state, finalSum: gradInitial.keySum };
    const passOfQ = { ...forwards, q: byOut, k: values, v: keys, out: written(gradQ), ...fromInitial };
    const toV = target(ofHeads(gradV, headsV), sums);
    const passOfV = { ...backwards, q: keys, k: queries, v: byOut, ...toV, ...fromFinal, ...toInitial };
    const toK = { out: ofHeads(gradK, headsK), transposed: true };
    const passOfK = { ...backwards, q: values, k: byOut, v: queries, ...toK, ...fromFinal };
    return [
      ...(normalised ? [quotientJob(normalised, gradOut, quotients)] : []),
      ...passJobs(passOfQ, d, { decays, states: statesQ }, threads),
      ...passJobs(passOfV, d, { decays, states: statesV }, threads),
      ...passJobs(passOfK, d, { decays, states: statesK }, threads),
      ...(shared ? [headSumsJob(headsV, h, gradV), headSumsJob(headsK, h, gradK)] : []),
    ];
  });
}

type Normalised = NonNullable<LinearAttentionBackwardCall['normalised']>;

function quotientJob({ out, denominator }: Normalised, gradOut: Tensor, to: number): Job {
  const [b, n, h, e] = out.shape as [number, number, number, number];
  const rows = b * n * h;
  return {
    phases: [{ kernel: 'linearQuotient', tasks: Math.ceil(rows / RUN) }],
    params: QuotientParams({
      n,
      h,
      e,
      rows,
      to,
      denominators: denominator,
      out: operand(out),
      gradOut: operand(gradOut),
    }),
    microseconds: (rows * e) / STEP_NUMBERS_PER_MICROSECOND,
  };
}

function headSumsJob(from: number, h: number, to: Tensor): Job {
  const [b, m, g, columns] = to.shape as [number, number, number, number];
  return {
    phases: [{ kernel: 'linearHeadSums', tasks: Math.ceil((b * m) / RUN) }],
    params: HeadSumsParams({ rows: b * m, h, g, columns, from, to: contiguous(to) }),
    microseconds: (b * m * h * columns) / STEP_NUMBERS_PER_MICROSECOND,
  };
}

export function planLinearAttentionStep(call: LinearAttentionStepCall, { memory }: Machine): Plan {
  const { q, k, v, out, initial, final, decay, epsilon = 0, denominator } = call;
  const [b, h, d, e] = initial.state.shape as [number, number, number, number];
  return withMemory({ decays: h * 8 }, ({ decays }) => {
    writeDecays(decay, memory, decays);
    const problem = { h, d, e, decays, epsilon, q: rowsOf(q), k: rowsOf(k), v: rowsOf(v) };
    const params = StepParams({
      ...problem,
      state: initial.state,
      nextState: final.state,
      sums: initial.keySum,
      nextSums: final.keySum,
      denominators: denominator,
      out: contiguous(out),
    });
    const microseconds = (b * h * d * e) / STEP_NUMBERS_PER_MICROSECOND;
    return [{ phases: [{ kernel: 'linearStep', tasks: b * h }], params, microseconds }];
  });
}

function writeDecays(decay: readonly number[], { buffer }: HeapMemory, at: number): void {
  new Float64Array(buffer, at, decay.length).set(decay);
}

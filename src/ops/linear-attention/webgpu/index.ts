/**
 * Linear attention on the GPU. The rows are cut into chunks, in rounds of at most `MOST_PLACES` chunks, so that the states
 * kept are few however long the rows are: what the chunks of a round add to the state, all at once; sums of these in order;
 * the chunks' outputs, all at once. Gradients are such passes over other operands: that of the queries from the transposed
 * state, those with respect to keys and values in reverse, from the gradient with respect to the state. A normaliser is one more
 * value column, of ones.
 */

import type { Dispatch, Region } from '../../../runtime/webgpu/kernel';
import { type Rows as Operand, rowsDispatch } from '../../../runtime/webgpu/kernels/block-product';
import { LANES } from '../../../runtime/webgpu/kernels/product';
import type { Plan, Workspace } from '../../../runtime/webgpu/plan';
import type {
  LinearAttentionBackwardCall,
  LinearAttentionCall,
  LinearAttentionProblem,
  LinearAttentionStepCall,
} from '../call';
import { CHUNK, type Ends, outputsKernel, prefixKernel, scoresKernel, statesKernel } from './passes';
import { headSums, quotients, stepDispatches } from './small';

/** States of a head that are kept at once; more would not make a GPU busier. */
const MOST_PLACES = 256;
/** The most bytes of a round's states, without those after it, and of its scores, if one head's take less. */
const ROUND_BYTES = 2 ** 26;
/** A state of all keys is summed in parts of so many chunks at least. */
const LEAST_CHUNKS = 4;

/** The row at a position, and whether rows see the state as it was before the decay. */
const FORWARDS = { origin: 0, step: 1, lead: 1 };

/** Rows [b,n,heads,columns] as passes read them, and their columns with that of ones, if there is one. */
interface Rows extends Operand {
  readonly width: number;
}

type State = LinearAttentionProblem['initial'];

/** One way along the rows of k and v, which make the states [d, e]. */
interface Pass {
  readonly b: number;
  readonly h: number;
  /** Rows of k and v. */
  readonly n: number;
  readonly k: Rows;
  readonly v: Rows;
  /** Columns of a state without the sum of keys. */
  readonly columns: number;
  readonly causal: boolean;
  readonly isReverse: boolean;
  readonly initial: State;
  readonly final: State;
}

/** Outputs of a pass: [b,rows,h,width] from q and the states, and if causal from the k and v that go with q. */
interface Outputs {
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  readonly out: Region;
  readonly transposed: boolean;
  readonly normaliser?: { readonly epsilon: number; readonly denominator: Region } | undefined;
}

export function planLinearAttention(call: LinearAttentionCall, workspace: Workspace): Plan {
  const { q, k, v, out, initial, final, causal, decay, normaliser } = call;
  const [b, n, h] = q.shape as [number, number, number, number];
  const [, m, , e] = v.shape as [number, number, number, number];
  const [queries, keys, values] = [rowsOf(q), rowsOf(k), rowsOf(v, normaliser !== undefined)];
  const pass = { b, h, n: m, k: keys, v: values, columns: e, causal, isReverse: false, initial, final };
  const outputs = { q: queries, k: keys, v: rowsOf(v), out, transposed: false, normaliser };
  return { dispatches: passDispatches(pass, n, [outputs], powersOf(decay, workspace), workspace) };
}

/**
 * With V' and dO' the values and the gradients with respect to the sums above the denominators, both with a normaliser's
 * column: dQ = dO' S^T from the states S of K and V'; dV = K G and dK = V' G^T from those, in reverse, G of Q and dO'.
 */
export function planLinearAttentionBackward(call: LinearAttentionBackwardCall, workspace: Workspace): Plan {
  const { q, k, v, initial, causal, decay, normalised, gradOut, gradFinal, gradQ, gradK, gradV, gradInitial } = call;
  const [b, n, h] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const powers = powersOf(decay, workspace);
  const [queries, keys, values] = [rowsOf(q), rowsOf(k), rowsOf(v, normalised !== undefined)];
  const byOut = rowsOf(normalised ? workspace.scratch([b, n, h, e + 1]) : gradOut);
  const ofHeads = (grad: Region) => (g < h ? workspace.scratch([b, m, h, grad.shape[3] as number]) : grad);
  const [headsK, headsV] = [ofHeads(gradK), ofHeads(gradV)];
  const none: State = {};
  const forwards = { b, h, n: m, k: keys, v: values, columns: e, causal, isReverse: false, initial, final: none };
  const backwards = {
    b,
    h,
    n,
    k: queries,
    v: byOut,
    columns: e,
    causal,
    isReverse: causal,
    initial: gradFinal,
    final: gradInitial,
  };
  const gradQueries = { q: byOut, k: values, v: keys, out: gradQ, transposed: true };
  const gradValues = { q: keys, k: queries, v: rowsOf(byOut.region), out: headsV, transposed: false };
  const gradKeys = { q: values, k: byOut, v: queries, out: headsK, transposed: true };
  return {
    dispatches: [
      ...(normalised ? [quotients(normalised, gradOut, byOut.region)] : []),
      ...passDispatches(forwards, n, [gradQueries], powers, workspace),
      ...passDispatches(backwards, m, [gradValues, gradKeys], powers, workspace),
      ...(g < h ? [headSums(headsK, gradK), headSums(headsV, gradV)] : []),
    ],
  };
}

export function planLinearAttentionStep(call: LinearAttentionStepCall, workspace: Workspace): Plan {
  return { dispatches: stepDispatches(call, workspace) };
}

/** The heads go through in groups whose states, with those after a round, fit a binding of the device. */
function passDispatches(
  pass: Pass,
  queries: number,
  outputs: readonly Outputs[],
  powers: Region,
  workspace: Workspace,
): Dispatch[] {
  const { b, h, n, k, v, causal } = pass;
  const d = k.width;
  const e = Math.ceil(v.width / 4) * 4;
  const largest = 4 * Math.max(d * e, causal ? CHUNK ** 2 : 0);
  const { maxBufferSize, maxStorageBufferBindingSize } = workspace.device.limits;
  const bytes = Math.min(ROUND_BYTES, maxBufferSize / 2, maxStorageBufferBindingSize / 2);
  const group = Math.min(b * h, Math.max(1, Math.floor(bytes / largest)));
  const most = Math.max(1, Math.min(MOST_PLACES, Math.floor(bytes / (group * largest))));
  // What does not decay may be summed in longer chunks, in one round.
  const chunk = causal ? CHUNK : CHUNK * Math.max(LEAST_CHUNKS, Math.ceil(n / CHUNK / most));
  const chunks = Math.ceil(n / chunk);
  const places = Math.min(chunks, most);
  const states = workspace.scratch([group, places + 1, d, e]);
  const scores = causal ? workspace.scratch([group, places, CHUNK, CHUNK]) : undefined;
  const made = { states, powers, ...(scores && { scores }) };
  return Array.from({ length: Math.ceil((b * h) / group) }, (_, at) => {
    const heads = { first: at * group, count: Math.min(group, b * h - at * group) };
    return groupDispatches(pass, heads, { queries, outputs, chunk, places }, made, workspace);
  }).flat();
}

/** All rounds of some heads. */
function groupDispatches(
  pass: Pass,
  { first, count: heads }: { readonly first: number; readonly count: number },
  cut: {
    readonly queries: number;
    readonly outputs: readonly Outputs[];
    readonly chunk: number;
    readonly places: number;
  },
  { states, powers, scores }: Made & { readonly powers: Region },
  workspace: Workspace,
): Dispatch[] {
  const { h, n, k, v, causal, initial, final } = pass;
  const { queries, outputs, chunk, places } = cut;
  const [, , d, e] = states.shape as [number, number, number, number];
  const chunks = Math.ceil(n / chunk);
  const isStaged = !workspace.device.isSoftware;
  const dispatches: Dispatch[] = [];
  for (let from = 0; from < chunks; from += places) {
    const count = Math.min(places, chunks - from);
    const way = pass.isReverse ? { origin: n - 1, step: -1, lead: 0 } : FORWARDS;
    const shared = { h, n, first_head: first, first: from * chunk, ...way, places, d, e, chunk, chunks: count };
    dispatches.push(
      rowsDispatch({
        kernel: statesKernel({ decays: causal, isStaged }),
        operands: { k, v, ...(causal && { powers }), states },
        numbers: shared,
        tasks: heads * count * tilesOf(d) * tilesOf(e),
        operations: 2 * heads * count * chunk * tilesOf(d) * tilesOf(e) * CHUNK ** 2,
      }),
    );
    dispatches.push({
      kernel: prefixKernel({ initial: endsOf(initial), final: endsOf(final) }),
      operands: {
        powers,
        states,
        ...(initial.state && { initial: initial.state }),
        ...(initial.keySum && { initial_sum: initial.keySum }),
        ...(final.state && { final: final.state }),
        ...(final.keySum && { final_sum: final.keySum }),
      },
      numbers: {
        ...shared,
        own: pass.columns,
        chunk: Math.min(chunk, CHUNK),
        last: Math.min(CHUNK, n - (from + count - 1) * chunk),
        is_first: Number(from === 0),
        is_last: Number(from + count === chunks),
      },
      tasks: heads * Math.ceil((d * e) / LANES),
      operations: heads * count * d * e * 8,
    });
    if (scores) {
      const numbers = { ...shared, chunks: count };
      dispatches.push(
        ...outputs.flatMap((each) => causalOutputs(each, { states, powers, scores }, numbers, heads, isStaged)),
      );
    }
  }
  if (causal) return dispatches;
  const all = { h, n: queries, first_head: first, first: 0, ...FORWARDS, places, d, e, chunks: tilesOf(queries) };
  return [...dispatches, ...outputs.map((each) => outputsDispatch(each, { states }, all, heads, isStaged))];
}

type Numbers = Readonly<Record<string, number>> & { readonly chunks: number };
type Made = Readonly<Record<'states', Region>> & { readonly powers?: Region; readonly scores?: Region };

function causalOutputs(
  outputs: Outputs,
  made: Required<Made>,
  numbers: Numbers,
  heads: number,
  isStaged: boolean,
): Dispatch[] {
  const { q, k } = outputs;
  const tasks = heads * numbers.chunks;
  const { powers, scores } = made;
  return [
    rowsDispatch({
      kernel: scoresKernel({ isStaged }),
      operands: { q, k, powers, scores },
      numbers,
      tasks,
      operations: 2 * tasks * CHUNK ** 2 * q.width,
    }),
    outputsDispatch(outputs, made, numbers, heads, isStaged),
  ];
}

function outputsDispatch(
  { q, v, out, transposed, normaliser }: Outputs,
  made: Made,
  numbers: Numbers,
  heads: number,
  isStaged: boolean,
): Dispatch {
  const width = out.shape[3] as number;
  const causal = made.scores !== undefined;
  const tasks = heads * numbers.chunks * tilesOf(width);
  return rowsDispatch({
    kernel: outputsKernel({ causal, normalised: normaliser !== undefined, transposed, isStaged }),
    operands: {
      q,
      out,
      ...made,
      ...(causal && { v }),
      ...(normaliser && { denominator: normaliser.denominator }),
    },
    numbers: { ...numbers, width, ...(normaliser && { epsilon: normaliser.epsilon }) },
    tasks,
    operations: 2 * tasks * CHUNK ** 2 * (q.width + (causal ? CHUNK : 0)),
  });
}

function rowsOf(region: Region, ones = false): Rows {
  return { region, ones, width: (region.shape[3] as number) + Number(ones) };
}

const tilesOf = (columns: number) => Math.ceil(columns / CHUNK);
const endsOf = ({ state, keySum }: State): Ends => ({ state: !!state, keySum: !!keySum });

/** The powers of each head's decay from 0 to `CHUNK`, rounded once: what vanishes is 0. */
function powersOf(decay: readonly number[], workspace: Workspace): Region {
  return workspace.upload(
    Float32Array.from({ length: decay.length * (CHUNK + 1) }, (_, at) => {
      return (decay[Math.floor(at / (CHUNK + 1))] as number) ** (at % (CHUNK + 1));
    }),
  );
}

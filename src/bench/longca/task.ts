/** A case as contenders get it, and what its result must be. */

import { queriesFrom } from '../../masks/area';
import type { Intervals } from '../../masks/intervals';
import { keyWords } from '../../masks/key-words';
import type { Mask, Place } from '../../masks/mask';
import { attention } from '../../ops/attention';
import { contiguous } from '../../ops/copy';
import type { Runtime } from '../../runtime/runtime';
import { type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { backward, forwardBy } from '../attention-operations';
import { ALL_QUERIES, type Attended, expectedGradients } from '../expected';
import { type Gate, gateOf } from '../gate';
import { extentOf, type Inputs, inputsOf, named, type Operation, type Problem, type Task } from '../problem';
import { type LongCaProblem, maskOf } from './cases';

const forward = forwardBy((_, { mask }) => ({ mask }));

/** Queries whose keys are asked for at once. */
const ASKED = 32;

export function taskOf(problem: LongCaProblem): Task {
  const { mask, n, pass, h, g, d } = problem;
  const operation: Operation = pass === 'forward' ? forward : backward;
  const own: Problem = { n, h, g, d, mask: named(mask, maskOf(problem)), operation };
  return { problem: own, inputs: inputsOf(own) };
}

/** The task with what processes are given: tensors, the mask's name and, for those that do not know it, the keys of each query. */
export function givenTo(task: Task, { pass, mask: maskName, d }: LongCaProblem, knowsMask: boolean): Task {
  const { problem, inputs } = task;
  const { n, h, g = h, mask, operation } = problem;
  const tensor = (data: Float32Array, heads: number) => hostTensor(data, [n, heads, d]);
  const band = bandOf(maskName, mask);
  const tensors: Record<string, HostTensor> = {
    q: tensor(inputs.q, h),
    k: tensor(inputs.k, g),
    v: tensor(inputs.v, g),
    ...(pass === 'backward' && { gradOut: tensor(inputs.gradOut, h) }),
    ...(!knowsMask && !band && runsOf(mask, problem)),
  };
  const [left, right] = band ?? [null, null];
  const settings = { n, h, g, d, pass, maskName, left, right };
  return {
    inputs,
    problem: { ...problem, operation: { ...(operation as Operation), given: () => ({ tensors, settings }) } },
  };
}

/** Keys to the left and to the right that masks without runs of their own see, -1 for all. */
function bandOf(name: string, mask: Mask): readonly [left: number, right: number] | undefined {
  if (!name.startsWith('sliding-window') && name !== 'full' && name !== 'causal') return undefined;
  const { left, right } = mask as Mask & Readonly<Record<'left' | 'right', number>>;
  return [left, right];
}

/** The runs of keys that each query of each head sees: one mask for all heads, or one for each of keys. */
function runsOf(mask: Mask, problem: Problem): Record<'offsets' | 'runs', HostTensor> {
  const extent = extentOf(problem);
  const { n, h, g } = extent;
  const heads = mask.variant ? g : 1;
  const offsets = [0];
  const runs: number[] = [];
  for (let head = 0; head < heads; head++) {
    const place: Place = { ...extent, batch: 0, head: (head * h) / heads };
    for (let first = 0; first < n; first += ASKED)
      for (const row of rowsOf(mask, queriesFrom(first, Math.min(ASKED, n - first)), place)) {
        for (const end of row) runs.push(end);
        offsets.push(runs.length / 2);
      }
  }
  return {
    offsets: hostTensor(Int32Array.from(offsets), [offsets.length]),
    runs: hostTensor(Int32Array.from(runs), [runs.length]),
  };
}

function rowsOf(mask: Mask, queries: readonly number[], place: Place): readonly Intervals[] {
  const { intervals } = mask;
  if (intervals) return queries.map((i) => intervals(i, place));
  const { starts, words } = keyWords(mask, queries, place);
  const rows: number[][] = queries.map(() => []);
  starts.forEach((start, at) => {
    const changed = (words[at] as number) ^ (words[at - 1] ?? 0);
    for (const [r, row] of rows.entries()) if (changed & (1 << r)) row.push(start);
  });
  return rows;
}

/** Gradients of many tokens are expected by the forward pass of this library, which is itself checked. */
export async function gateOfCase({ problem, inputs }: Task, runtime: Runtime): Promise<Gate> {
  if (problem.operation !== backward || problem.n <= ALL_QUERIES) return gateOf(problem, inputs);
  return gateOf(problem, inputs, expectedGradients(problem, inputs, await attendedByLast(problem, inputs, runtime)));
}

/** The forward pass of the heads that share the last keys. */
async function attendedByLast(problem: Problem, inputs: Inputs, runtime: Runtime): Promise<Attended> {
  const { n, h, g = h, d, mask } = problem;
  const tensor = (numbers: Float32Array, heads: number) => runtime.tensor(numbers, [1, n, heads, d], 'f32');
  using q = tensor(inputs.q, h);
  using k = tensor(inputs.k, g);
  using v = tensor(inputs.v, g);
  const { out, lse } = attention(q, k, v, { mask });
  const last = async (all: Tensor, columns: number) => {
    using rows = all.reshape([n, h, columns]);
    using own = rows.slice(1, h - h / g, h);
    using copy = contiguous(own);
    all.dispose();
    return (await copy.read()) as Float32Array;
  };
  return { out: await last(out, d), lse: await last(lse, 1) };
}

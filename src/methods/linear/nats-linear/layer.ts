/** The two branches and their norms: out = silu(gate) (w0 gain rms(softmax) + w1 gain rms(delta)), and the gradients. */
import { ParameterError } from '../../../errors';
import { add, multiply, silu, subtract, unaryBackward } from '../../../ops/elementwise';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { matmul } from '../../../ops/matmul';
import { rmsNorm, rmsNormBackward } from '../../../ops/rms-norm';
import { softmax as softmaxRows, sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import { bindShapes, formatShape } from '../../../tensor/shape';
import { Temporaries } from '../../../tensor/temporaries';
import type { Tensor } from '../../../tensor/tensor';
import { deltaBackward, deltaForward } from './delta';
import type { Params } from './params';
import { chosenOf, INPUTS, OPTIONAL, type Problem, problemOf, straightThrough } from './problem';
import { softmaxBackward, softmaxForward } from './softmax';

type Required = Readonly<Record<keyof typeof INPUTS, Tensor>>;
type Given = Required & Readonly<Partial<Record<keyof typeof OPTIONAL, Tensor>>>;
type Results = Readonly<Record<'out' | 'softmax' | 'delta' | 'lse', Tensor>>;

/** Of the results of both branches softmax is the first, as of the logits. */
const BRANCHES = ['softmax', 'delta'] as const;
type Branch = (typeof BRANCHES)[number];

export async function forward(tensors: Required, params: Params, control: Control = {}): Promise<Results> {
  const given: Given = tensors;
  const problem = await checkInputs(given, params);
  const { b, n, h, e, a } = problem;
  using temporaries = new Temporaries();
  const { own } = temporaries;
  const chosen = chosenOf(await given.route.read());
  const operands = await operandsOf(given, params, problem, temporaries);
  const deltaSettings = { problem, chosen, scale: operands.deltaScale, forget: params.forget };
  const delta = await own(deltaForward(operands.delta, deltaSettings, half(control, 0)));
  const settings = { problem, chosen, scale: operands.softmaxScale };
  const attended = await temporaries.ownAll(softmaxForward(operands.softmax, settings, half(control, 0.5)));
  const softmax = await own(attended.out.reshape([b, n, h, e]));
  const { merged } = await merge({ softmax, delta }, given, params, problem, temporaries);
  const out = given.gate ? await own(multiply(merged, await own(silu(given.gate)))) : merged;
  return temporaries.release({ out, softmax, delta, lse: await own(attended.lse.reshape([b, n, a])) });
}

export async function backward(
  tensors: Required,
  results: Results,
  gradOut: Tensor,
  params: Params,
  control: Control = {},
): Promise<Record<string, Tensor>> {
  const given: Given = tensors;
  const problem = await checkInputs(given, params);
  checkFloat32('nats-linear', { gradOut }, {});
  checkContiguous({ gradOut });
  bindShapes({ v: INPUTS.v, gradOut: INPUTS.v }, { v: given.v.shape, gradOut: gradOut.shape });
  const { b, n, h, d, a, p, r } = problem;
  const { epsilon, counterfactual } = params;
  const { runtime } = gradOut;
  using temporaries = new Temporaries();
  const { own } = temporaries;
  const route = await given.route.read();
  const chosen = chosenOf(route);
  const operands = await operandsOf(given, params, problem, temporaries);
  const { merged, weights, normal, scaled } = await merge(results, given, params, problem, temporaries);
  const grads: Record<string, Tensor> = {};

  let byMerged = gradOut;
  if (given.gate) {
    byMerged = await own(multiply(gradOut, await own(silu(given.gate))));
    const byGate = await own(multiply(gradOut, merged));
    grads.gate = await own(unaryBackward('silu', given.gate, byGate));
  }
  const byHeads = await own(byMerged.reshape([b, n, a, r]));
  const byBranch = {} as Record<Branch, Tensor>;
  const byWeight = {} as Record<Branch, Tensor>;
  for (const name of BRANCHES) {
    byWeight[name] = await own(sumRows(await own(multiply(byHeads, scaled[name]))));
    const byScaled = await own(multiply(byHeads, weights[name]));
    const gain = given[`gain_${name}`];
    if (gain) grads[`gain_${name}`] = await sumColumns(byScaled, normal[name], temporaries);
    const byNormal = gain ? await own(multiply(byScaled, gain)) : byScaled;
    const branch = await own(results[name].reshape([b, n, a, r]));
    byBranch[name] = await own(rmsNormBackward(branch, byNormal, { epsilon }));
  }
  // The slope of a softmax of two: w0 w1 (by0 - by1), and its negative.
  const both = await own(multiply(weights.softmax, weights.delta));
  const slope = await own(multiply(both, await own(subtract(byWeight.softmax, byWeight.delta))));
  grads.mix = await own(matmul(slope, await own(runtime.tensor([1, -1], [1, 2]))));

  const byDelta = await own(byBranch.delta.reshape(results.delta.shape));
  const throughDelta = await deltaBackward(
    operands.delta,
    byDelta,
    { problem, chosen, scale: operands.deltaScale, forget: params.forget, counterfactual },
    half(control, 0),
  );
  const { choices: deltaChoices, ...deltaGrads } = throughDelta;
  await temporaries.ownAll(deltaGrads);
  const attended = {
    out: await own(results.softmax.reshape([b, n, a, r])),
    lse: (await own(results.lse.reshape([b, n, a]))) as Tensor<'f32'>,
  };
  const { choices: softmaxChoices, ...softmaxGrads } = await softmaxBackward(
    operands.softmax,
    attended,
    byBranch.softmax,
    { problem, chosen, scale: operands.softmaxScale, counterfactual },
    half(control, 0.5),
  );
  await temporaries.ownAll(softmaxGrads);

  for (const name of ['q', 'k'] as const) {
    const heads = await own(given[name].reshape([b, n, a, p]));
    const gain = given[`gain_${name}`];
    if (gain) grads[`gain_${name}`] = await sumColumns(softmaxGrads[name], operands.normal[name], temporaries);
    const byNormal = gain ? await own(multiply(softmaxGrads[name], gain)) : softmaxGrads[name];
    const fromHeads = await own(rmsNormBackward(heads, byNormal, { epsilon }));
    const byUnit = name === 'k' ? await own(multiply(deltaGrads.k, operands.toUnit)) : deltaGrads.q;
    const fromUnit = await own(rmsNormBackward(given[name], byUnit, { epsilon: epsilon / d }));
    grads[name] = await own(add(fromUnit, await own(fromHeads.reshape([b, n, h, d]))));
  }
  const byValues = await own(softmaxGrads.v.reshape(given.v.shape));
  grads.v = await own(add(deltaGrads.v, byValues));
  grads.g = deltaGrads.g;
  grads.beta = deltaGrads.beta;
  const byRoute = straightThrough(route as Float32Array, { softmax: softmaxChoices, delta: deltaChoices });
  grads.route = await own(runtime.tensor(Float32Array.from(byRoute), given.route.shape));
  return temporaries.release(grads);
}

/** What both operators take: unit keys and queries for the delta rule, normalised heads for softmax attention. */
async function operandsOf(given: Given, params: Params, problem: Problem, temporaries: Temporaries) {
  const { b, n, d, a, p, r } = problem;
  const { epsilon, scale = 1 / Math.sqrt(p) } = params;
  const { own } = temporaries;
  const { q, k, v, g, beta } = given;
  const heads = async (x: Tensor) => own(rmsNorm(await own(x.reshape([b, n, a, p])), { epsilon }));
  const scaled = async (x: Tensor, gain: Tensor | undefined) => (gain ? own(multiply(x, gain)) : x);
  const normal = { q: await heads(q), k: await heads(k) };
  // Over the root of the mean of squares times the root of d: unit length. Of q the scale takes in that factor.
  const toUnit = await own(q.runtime.tensor([1 / Math.sqrt(d)], []));
  const [lengthQ, lengthK] = [
    await own(rmsNorm(q, { epsilon: epsilon / d })),
    await own(rmsNorm(k, { epsilon: epsilon / d })),
  ];
  return {
    normal,
    toUnit,
    softmax: {
      q: await scaled(normal.q, given.gain_q),
      k: await scaled(normal.k, given.gain_k),
      v: await own(v.reshape([b, n, a, r])),
    },
    softmaxScale: scale,
    delta: { q: lengthQ, k: await own(multiply(lengthK, toUnit)), v, g, beta },
    deltaScale: 1 / d,
  };
}

/** The weighted sum of both branches, before the gate, and what it is made from, in heads of softmax attention. */
async function merge(
  branches: Readonly<Record<Branch, Tensor>>,
  given: Given,
  { epsilon }: Params,
  { b, n, h, e, a, r }: Problem,
  temporaries: Temporaries,
) {
  const { own } = temporaries;
  const both = await own(softmaxRows(given.mix));
  const [weights, normal, scaled, parts] = [{}, {}, {}, {}] as Record<Branch, Tensor>[] as [
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
  ];
  for (const [at, name] of BRANCHES.entries()) {
    const column = await own(given.mix.runtime.tensor([1 - at, at], [2, 1]));
    weights[name] = await own(matmul(both, column));
    normal[name] = await own(rmsNorm(await own(branches[name].reshape([b, n, a, r])), { epsilon }));
    const gain = given[`gain_${name}`];
    scaled[name] = gain ? await own(multiply(normal[name], gain)) : normal[name];
    parts[name] = await own(multiply(scaled[name], weights[name]));
  }
  const sum = await own(add(parts.softmax, parts.delta));
  return { merged: await own(sum.reshape([b, n, h, e])), weights, normal, scaled };
}

/** Sums of the columns of x y, both [..., c]: [c]. */
async function sumColumns(x: Tensor, y: Tensor, temporaries: Temporaries): Promise<Tensor> {
  const { own } = temporaries;
  const columns = x.shape.at(-1) as number;
  const products = await own((await own(multiply(x, y))).reshape([-1, columns]));
  const rows = products.shape[0] as number;
  const ones = await own(x.runtime.tensor(new Float32Array(rows).fill(1), [1, rows]));
  return own((await own(matmul(ones, products))).reshape([columns]));
}

/** Throws unless shapes, types and gates fit. */
async function checkInputs(given: Given, { chunk }: Params): Promise<Problem> {
  const { q, k, v, g, beta, route, mix } = given;
  const tensors: Record<string, Tensor> = { q, k, v, g, beta, route, mix };
  for (const name of Object.keys(OPTIONAL) as (keyof typeof OPTIONAL)[]) {
    const tensor = given[name];
    if (tensor) tensors[name] = tensor;
  }
  checkFloat32('nats-linear', tensors, {});
  checkContiguous(tensors);
  const shapes = Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape]));
  const problem = problemOf(shapes, chunk);
  await checkEach('g', given.g, (x) => Number.isFinite(x) && x <= 0, 'finite and at most 0');
  await checkEach('beta', given.beta, Number.isFinite, 'finite');
  await checkEach('route', given.route, Number.isFinite, 'finite');
  return problem;
}

async function checkEach(
  name: string,
  tensor: Tensor,
  isRight: (x: number) => boolean,
  expected: string,
): Promise<void> {
  const values = (await tensor.read()) as Float32Array;
  const at = values.findIndex((x) => !isRight(x));
  if (at === -1) return;
  throw new ParameterError(
    `${name} must be ${expected}, got ${values[at]} at element ${at} of ${formatShape(tensor.shape)}`,
  );
}

/** The control of one of two halves. */
function half({ signal, onProgress }: Control, start: number): Control {
  return { signal, onProgress: onProgress && ((share) => onProgress(start + share / 2)) };
}

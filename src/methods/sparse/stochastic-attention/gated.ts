/** out = gate_sa SA + gate_swa SWA: two attentions over the same q, k and v, one gate for each head and token of each. */
import { ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { add, multiply } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';

type Tensors = Readonly<Record<'q' | 'k' | 'v', Tensor>>;
type Gates = Readonly<Partial<Record<'gate_sa' | 'gate_swa', Tensor>>>;

interface Path<Params> {
  readonly inputs: Readonly<Record<string, string>>;
  readonly optional?: Readonly<Record<string, string>>;
  forward(tensors: Tensors, params: Params, control?: Control): Record<string, Tensor>;
  backward(
    tensors: Tensors,
    results: Readonly<Record<string, Tensor>>,
    gradOut: Tensor,
    params: Params,
    control?: Control,
  ): Record<string, Tensor>;
}

interface Paths<Params> {
  readonly shuffled: Path<Params>;
  readonly sliding: Path<Params>;
}

/** sigmoid(0): what gates give before training, with biases of zero. */
const UNTRAINED = 0.5;

/** Gates belong to the gated pair alone. */
export function refuseGates(tensors: Tensors): void {
  for (const name of Object.keys(gatesOf(tensors))) {
    throw new ParameterError(`${name} is for the gated pair: set the param gated, or leave it out`);
  }
}

export function gatedForward<Params>(
  { shuffled, sliding }: Paths<Params>,
  tensors: Tensors,
  params: Params,
  { signal, onProgress }: Control = {},
): { out: Tensor; lse: Tensor } {
  const { gate_sa, gate_swa } = checkGates(tensors);
  const half = (start: number): Control => ({ signal, onProgress: (share) => onProgress?.(start + share / 2) });
  const sa = shuffled.forward(inputsOf(shuffled, tensors), params, half(0));
  using lse = sa.lse as Tensor;
  using outSa = sa.out as Tensor;
  const swa = sliding.forward(inputsOf(sliding, tensors), params, half(0.5));
  swa.lse?.dispose();
  using outSwa = swa.out as Tensor;
  using first = times(outSa, gate_sa);
  using second = times(outSwa, gate_swa);
  const out = add(first, second);
  return { out, lse: lse.reshape(lse.shape) };
}

/** Both paths run again: what each gave alone is not among the results. */
export function gatedBackward<Params>(
  { shuffled, sliding }: Paths<Params>,
  tensors: Tensors,
  gradOut: Tensor,
  params: Params,
  { signal, onProgress }: Control = {},
): Record<string, Tensor> {
  const { gate_sa, gate_swa } = checkGates(tensors);
  checkFloat32('stochastic-attention', { gradOut }, {});
  checkContiguous({ gradOut });
  const half = (start: number): Control => ({ signal, onProgress: (share) => onProgress?.(start + share / 2) });
  const sa = pathBackward(shuffled, tensors, gate_sa, gradOut, params, half(0));
  using _q = sa.q;
  using _k = sa.k;
  using _v = sa.v;
  const swa = pathBackward(sliding, tensors, gate_swa, gradOut, params, half(0.5));
  const sums: Record<string, Tensor> = {};
  for (const name of ['q', 'k', 'v'] as const) {
    using other = swa[name];
    sums[name] = add(sa[name], other);
  }
  return { ...sums, ...(sa.gate && { gate_sa: sa.gate }), ...(swa.gate && { gate_swa: swa.gate }) };
}

interface PathGradients extends Record<'q' | 'k' | 'v', Tensor> {
  readonly gate?: Tensor;
}

/** Gradients of one path, whose output is scaled by `gate`. */
function pathBackward<Params>(
  path: Path<Params>,
  tensors: Tensors,
  gate: Tensor | undefined,
  gradOut: Tensor,
  params: Params,
  { signal, onProgress }: Control,
): PathGradients {
  const inputs = inputsOf(path, tensors);
  const results = path.forward(inputs, params, { signal, onProgress: (share) => onProgress?.(share / 3) });
  using out = results.out as Tensor;
  using lse = results.lse as Tensor;
  using byOut = times(gradOut, gate);
  const grads = path.backward(inputs, { out, lse }, byOut, params, {
    signal,
    onProgress: (share) => onProgress?.((1 + 2 * share) / 3),
  }) as Record<'q' | 'k' | 'v', Tensor>;
  return { ...grads, ...(gate && { gate: rowSums(out, gradOut) }) };
}

/** x [b, n, h, e], each row times its number in gate [b, n, h]. */
function times(x: Tensor, gate: Tensor | undefined): Tensor {
  const e = x.shape[3] as number;
  using same = x.runtime.tensor(new Float32Array(e).fill(gate ? 1 : UNTRAINED), [1, e]);
  if (!gate) {
    using row = same.reshape([e]);
    return multiply(x, row);
  }
  using column = gate.reshape([...gate.shape, 1]);
  using factors = matmul(column, same);
  return multiply(x, factors);
}

/** Sums of a b along the last axis: [b, n, h] from [b, n, h, e]. */
function rowSums(a: Tensor, b: Tensor): Tensor {
  using products = multiply(a, b);
  return sum(products, { axes: [-1] });
}

/** Neither path takes gates, and the window no permutation. */
function inputsOf<Params>({ inputs, optional }: Path<Params>, tensors: Tensors): Tensors {
  const known = { ...inputs, ...optional };
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => name in known)) as Tensors;
}

function gatesOf(tensors: Tensors): Gates {
  const { gate_sa, gate_swa } = tensors as Tensors & Gates;
  return { ...(gate_sa && { gate_sa }), ...(gate_swa && { gate_swa }) };
}

/** The gates given; they and q, k and v must be f32, as the functions of elements are. */
function checkGates({ q, k, v, ...others }: Tensors): Gates {
  const gates = gatesOf({ q, k, v, ...others });
  checkFloat32('stochastic-attention', { q, k, v, ...gates }, {});
  checkContiguous({ ...gates });
  const shapes = Object.fromEntries(Object.entries({ q, ...gates }).map(([name, { shape }]) => [name, shape]));
  bindShapes({ q: 'b n h d', ...Object.fromEntries(Object.keys(gates).map((name) => [name, 'b n h'])) }, shapes);
  return gates;
}

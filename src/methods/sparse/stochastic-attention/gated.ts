/** out = gate_sa SA + gate_swa SWA: two attentions over the same q, k and v, one gate for each head and token of each. */
import { ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { sigmoid } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/guard';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { Layer, LayerParameter } from '../../define';

type Tensors = Readonly<Record<'q' | 'k' | 'v', Tensor>>;
type Gates = Readonly<Partial<Record<(typeof GATES)[number], Tensor>>>;

const GATES = ['gate_sa', 'gate_swa'] as const;

interface Path<Params> {
  readonly inputs: Readonly<Record<string, string>>;
  readonly optional?: Readonly<Record<string, string>>;
  forward(tensors: Tensors, params: Params, control?: Control): Record<string, Tensor>;
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
  control: Control = {},
): { out: Tensor; lse: Tensor } {
  const { gate_sa, gate_swa } = checkGates(tensors);
  return tensors.q.runtime.scope(() => {
    const sa = shuffled.forward(inputsOf(shuffled, tensors), params, controlOf(control, 0, 2));
    const swa = sliding.forward(inputsOf(sliding, tensors), params, controlOf(control, 1, 2));
    const untrained = tensors.q.runtime.tensor([UNTRAINED], []);
    const [first, second] = [gate_sa, gate_swa].map((gate) => gate?.reshape([...gate.shape, 1]) ?? untrained);
    const [a, b] = [sa.out, swa.out] as [Tensor, Tensor];
    const out = map((a, first, b, second) => a * first + b * second, a, first as Tensor, b, second as Tensor);
    return { out, lse: sa.lse as Tensor };
  });
}

/** Each gate a sigmoid of a projection of the tokens. */
export function gateLayer(width: number, heads: number): Layer {
  const parameters: Record<string, LayerParameter> = {};
  for (const gate of GATES) {
    parameters[`${gate}_proj.weight`] = { shape: [heads, width], initial: { std: 0.02 } };
    parameters[`${gate}_proj.bias`] = { shape: [heads], initial: { value: 0 } };
  }
  return {
    parameters,
    inputs(x, _, given, control) {
      const gates = GATES.map((gate) => {
        const [weight, bias] = [given[`${gate}_proj.weight`], given[`${gate}_proj.bias`]] as [Tensor, Tensor];
        return [gate, sigmoid(matmul(x, weight, { transposeB: true, bias, ...control }), control)];
      });
      return Object.fromEntries(gates);
    },
  };
}

/** Neither path takes gates, and the window takes no permutation. */
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

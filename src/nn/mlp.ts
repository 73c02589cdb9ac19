/** Feed-forward networks: two projections with an activation between them, or three with a gate. */
import { checkBoolean, checkChoice, checkKnown, checkWhole, isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Tensor } from '../tensor/tensor';
import { ACTIVATIONS, type Activation, activate, gated } from './activation';
import { type Described, defineModule, type Module } from './module';
import { project, projectAll, projection } from './projection';

interface FeedForwardConfig<Names> {
  readonly width: number;
  /** Width within. */
  readonly hidden: number;
  readonly activation?: Activation | undefined;
  /** Whether the projections have biases; default false. */
  readonly bias?: boolean | undefined;
  /** Names of the projections in checkpoints. */
  readonly names?: Names | undefined;
  /** Whether their matrices are [in, out], as in GPT-2; default false. */
  readonly transposed?: boolean | undefined;
}

/** Activation `gelu` by default, names `fc1` and `fc2`. */
export type MlpConfig = FeedForwardConfig<readonly [first: string, second: string]>;

/**
 * Activation `silu` by default, names `gate_proj`, `up_proj` and `down_proj`; with two names the first is of one projection to
 * gate and up, in this order.
 */
export type GluConfig = FeedForwardConfig<
  readonly [gate: string, up: string, down: string] | readonly [both: string, down: string]
>;

export type SimpleGluConfig = Pick<GluConfig, 'width' | 'hidden'>;

/**
 * fc2(activation(fc1 x)): x [..., n, width] -> the same shape. Parameters: `fc1.weight` [hidden, width], `fc2.weight`
 * [width, hidden] and their biases.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function mlp(config: MlpConfig): Module {
  const {
    names: [first, second],
    activation,
    transposed,
    parameters,
  } = checked(config, ['fc1', 'fc2'], 'gelu');
  return defineModule({
    name: 'mlp',
    parameters,
    forward(x, given, { signal, activations }) {
      const control = { signal, activations, transposed };
      return project(second, activate(activation, project(first, x, given, control), { signal }), given, control);
    },
  });
}

/**
 * down(activation(gate x) up(x)), the gated linear unit, which is SwiGLU with `silu`: x [..., n, width] -> the same shape.
 * Parameters: `gate_proj.weight` and `up_proj.weight` [hidden, width], or both in one matrix [2 hidden, width], `down_proj.weight`
 * [width, hidden], and biases.
 * Source: Shazeer 2020, arXiv 2002.05202.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function glu(config: GluConfig): Module {
  const isFused = isRecord(config) && Array.isArray(config.names) && config.names.length === 2;
  const [usual, share] = isFused ? [FUSED, 2] : [GATE_UP_DOWN, 1];
  const { names, activation, transposed, parameters } = checked<readonly string[]>(config, usual, 'silu', share);
  const down = names.at(-1) as string;
  return defineModule({
    name: 'glu',
    parameters,
    forward(x, given, { signal, activations }) {
      const control = { signal, activations, transposed };
      const within = projectAll(names.slice(0, -1), x, given, control);
      const [gate, up] = isFused ? halvesOf(within[0] as Tensor, config.hidden) : within;
      return project(down, gated(activation, gate as Tensor, up as Tensor, { signal }), given, control);
    },
  });
}

const GATE_UP_DOWN = ['gate_proj', 'up_proj', 'down_proj'];
const FUSED = ['gate_up_proj', 'down_proj'];

const halvesOf = (x: Tensor, hidden: number) => [0, hidden].map((from) => x.slice(x.rank - 1, from, from + hidden));

/**
 * SGLU of TransNormerLLM, without an activation, under its names: `l1.weight`, `l2.weight` [hidden, width], `l3.weight`
 * [width, hidden].
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function simpleGlu(config: SimpleGluConfig): Module {
  checkKnown('config', config, ['width', 'hidden'], (name) => `config has no '${name}'`);
  return glu({ ...config, activation: 'none', names: ['l1', 'l2', 'l3'] });
}

/** With defaults, and the parameters: the last projection leads back to the width, others have `share` times the hidden one. */
function checked<Names extends readonly string[]>(
  config: FeedForwardConfig<Names>,
  usual: Names,
  common: Activation,
  share = 1,
) {
  const known = ['width', 'hidden', 'activation', 'bias', 'names', 'transposed'];
  checkKnown('config', config, known, (name) => `config has no '${name}'`);
  const { width, hidden, activation = common, bias = false, names = usual, transposed } = config;
  checkWhole('width', width, 1);
  checkWhole('hidden', hidden, 1);
  checkChoice('activation', activation, ACTIVATIONS);
  checkBoolean('bias', bias);
  checkBoolean('transposed', transposed);
  const isList = Array.isArray(names) && names.length === usual.length && new Set(names).size === usual.length;
  if (!isList || names.some((name) => typeof name !== 'string'))
    throw new ParameterError(`names must be ${usual.length} different strings, got ${show(names)}`);
  const parameters = names.map((name, at) => {
    const [out, into] = at < names.length - 1 ? [share * hidden, width] : [width, hidden];
    return projection(name, out, into, { bias, transposed });
  });
  return { names, activation, transposed, parameters: Object.assign({}, ...parameters) as Described };
}

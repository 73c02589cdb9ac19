/**
 * GLA, the token mixer of TransNormerLLM: causal linear attention with a decay for each head, normalised and gated.
 * q = silu(x Wq), k = silu(x Wk), v = x Wv, u = x Wu; out = (rms(attention(q, k, v)) * u) Wo. The norm is over all heads.
 * Letters: b batch, n tokens, D width, h heads, d = D / h channels of a head.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995.
 */
import { checkBoolean, checkKnown, checkNumbers, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { linearAttention, linearAttentionBackward } from '../ops/linear-attention';
import { add, multiply, silu, unaryBackward } from '../ops/map';
import { matmul } from '../ops/matmul';
import { rmsNorm, rmsNormBackward } from '../ops/norm';
import type { Runtime } from '../runtime/runtime';
import { bindShapes, formatShape, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { lrpe, lrpeAngles, lrpeBackward, lrpeFactors } from './lrpe';
import {
  checkExtents,
  checkNames,
  checkPass,
  type Module,
  type ModuleControl,
  type ModuleGradients,
  matmulBackward,
  type Parameters,
  randomParameters,
} from './module';

const NAMES = ['q', 'k', 'v', 'u', 'o'] as const;
type Name = (typeof NAMES)[number];

export interface GatedLinearAttentionSettings {
  readonly heads: number;
  /** For each head, in (0, 1]; default: none decays. */
  readonly decay?: readonly number[] | undefined;
}

export interface GatedLinearAttentionExtents extends GatedLinearAttentionSettings {
  readonly width: number;
  /** Whether positions enter by LRPE, with a learnt angle for each channel. Default false. */
  readonly lrpe?: boolean | undefined;
}

export class GatedLinearAttention implements Module {
  readonly parameters: Readonly<Record<Name, Tensor>> & { readonly theta?: Tensor };

  /** q, k, v, u and o [D, D]; with LRPE theta [h, d]. */
  static shapes(extents: GatedLinearAttentionExtents): Record<string, Shape> {
    checkExtents(extents, ['width', 'heads'], ['decay', 'lrpe']);
    const { width, heads, lrpe = false } = extents;
    checkBoolean('lrpe', lrpe);
    checkDecay(extents);
    if (width % heads !== 0) throw new ParameterError(`heads must divide the width ${width}, got ${show(heads)}`);
    const square = [width, width];
    return { q: square, k: square, v: square, u: square, o: square, ...(lrpe && { theta: [heads, width / heads] }) };
  }

  /** With the parameters that training starts from. */
  static initial(runtime: Runtime, extents: GatedLinearAttentionExtents, seed = 0): GatedLinearAttention {
    const { theta, ...shapes } = GatedLinearAttention.shapes(extents);
    const parameters = randomParameters(runtime, shapes, seed, 0.02);
    const angles = theta && { theta: lrpeAngles(runtime, extents.heads, theta[1] as number) };
    const { heads, decay } = extents;
    return new GatedLinearAttention({ ...parameters, ...angles }, { heads, decay });
  }

  constructor(
    parameters: Parameters,
    readonly settings: GatedLinearAttentionSettings,
  ) {
    checkNames('GatedLinearAttention', parameters, NAMES, ['theta']);
    const { q, k, v, u, o, theta } = parameters as Record<Name, Tensor> & { readonly theta?: Tensor };
    const square = 'D D';
    const { D } = bindShapes(
      { q: square, k: square, v: square, u: square, o: square },
      { q: q.shape, k: k.shape, v: v.shape, u: u.shape, o: o.shape },
    ) as { readonly D: number };
    checkKnown('settings', settings, ['heads', 'decay'], (name) => `settings have no '${name}'`);
    const { heads } = settings;
    if (!(Number.isInteger(heads) && heads >= 1 && D % heads === 0))
      throw new ParameterError(`heads must divide the width ${D}, got ${show(heads)}`);
    checkDecay(settings);
    if (theta && (theta.rank !== 2 || theta.shape[0] !== heads || theta.shape[1] !== D / heads))
      throw new ShapeError(`theta must have shape [${heads}, ${D / heads}], got ${formatShape(theta.shape)}`);
    this.parameters = { q, k, v, u, o, ...(theta && { theta }) };
  }

  forward(x: Tensor, control: ModuleControl = {}): Tensor {
    checkPass(this, { x }, control);
    return x.runtime.scope(() => matmul(this.#compute(x, control).gated, this.parameters.o, control));
  }

  backward(x: Tensor, gradOut: Tensor, control: ModuleControl = {}): ModuleGradients {
    checkPass(this, { x, gradOut }, control);
    return x.runtime.scope(() => {
      const { parameters } = this;
      const { raw, heads, mixed, normal, gated } = this.#compute(x, control);
      const output = matmulBackward(gated, parameters.o, gradOut, control);
      const gradNormal = multiply(output.x, raw.u);
      const gradMixed = rmsNormBackward(mixed, gradNormal).reshape(heads.v.shape);
      const attended = this.#attendBackward(heads, gradMixed, control);
      const flat = (gradient: Tensor) => gradient.reshape(x.shape);
      const projected = {
        q: unaryBackward('silu', raw.q, flat(attended.q)),
        k: unaryBackward('silu', raw.k, flat(attended.k)),
        v: flat(attended.v),
        u: multiply(output.x, normal),
      };
      const grads: Record<string, Tensor> = { o: output.weight, ...(attended.theta && { theta: attended.theta }) };
      let gradX: Tensor | undefined;
      for (const name of ['q', 'k', 'v', 'u'] as const) {
        const part = matmulBackward(x, parameters[name], projected[name], control);
        grads[name] = part.weight;
        gradX = gradX ? add(gradX, part.x) : part.x;
      }
      return { x: gradX as Tensor, parameters: grads };
    });
  }

  /** What both passes need; all [b, n, D] but for the heads [b, n, h, d]. */
  #compute(x: Tensor, control: ModuleControl) {
    const [b, n, width] = checkInput(x, this.parameters.q);
    const split = [b, n, this.settings.heads, width / this.settings.heads];
    const raw = {} as Record<'q' | 'k' | 'v' | 'u', Tensor>;
    for (const name of ['q', 'k', 'v', 'u'] as const) raw[name] = matmul(x, this.parameters[name], control);
    const heads = { q: silu(raw.q).reshape(split), k: silu(raw.k).reshape(split), v: raw.v.reshape(split) };
    const mixed = this.#attend(heads, control).reshape([b, n, width]);
    const normal = rmsNorm(mixed);
    return { raw, heads, mixed, normal, gated: multiply(normal, raw.u) };
  }

  #attend(heads: Heads, control: ModuleControl): Tensor {
    return this.#parts(heads)
      .map(({ q, k }): Tensor => linearAttention(q, k, heads.v, { ...this.#attention, ...control }).out)
      .reduce((sum, out) => add(sum, out));
  }

  #attendBackward(heads: Heads, gradOut: Tensor, control: ModuleControl): Heads & { readonly theta?: Tensor } {
    const { theta } = this.parameters;
    const options = { ...this.#attention, ...control };
    const parts = this.#parts(heads).map(({ q, k }) => linearAttentionBackward(q, k, heads.v, { gradOut }, options));
    const [cos, sin] = parts as [(typeof parts)[number], ...typeof parts];
    if (!theta || !sin) return { q: cos.gradQ, k: cos.gradK, v: cos.gradV };
    const factors = lrpeFactors(theta, heads.q.shape[1] as number);
    const q = lrpeBackward(heads.q, factors, { cos: cos.gradQ, sin: sin.gradQ });
    const k = lrpeBackward(heads.k, factors, { cos: cos.gradK, sin: sin.gradK });
    return { q: q.x, k: k.x, v: add(cos.gradV, sin.gradV), theta: add(q.theta, k.theta) };
  }

  /** The queries and keys whose attentions add up: one pair, with LRPE two. */
  #parts({ q, k }: Heads): Pick<Heads, 'q' | 'k'>[] {
    const { theta } = this.parameters;
    if (!theta) return [{ q, k }];
    const factors = lrpeFactors(theta, q.shape[1] as number);
    const queries = lrpe(q, factors);
    const keys = lrpe(k, factors);
    return [
      { q: queries.cos, k: keys.cos },
      { q: queries.sin, k: keys.sin },
    ];
  }

  get #attention() {
    return { causal: true, decay: this.settings.decay };
  }
}

/** Of as many heads as the settings have. */
function checkDecay({ heads, decay }: GatedLinearAttentionSettings): void {
  if (decay === undefined) return;
  checkNumbers('decay', decay, 'numbers in (0, 1]', (value) => value > 0 && value <= 1);
  if (decay.length !== heads)
    throw new ParameterError(`decay must have one number for each of the ${heads} heads, got ${decay.length}`);
}

type Heads = Readonly<Record<'q' | 'k' | 'v', Tensor>>;

function checkInput(x: Tensor, weight: Tensor): [b: number, n: number, width: number] {
  const { b, n, D } = bindShapes({ x: 'b n D', weights: 'D D' }, { x: x.shape, weights: weight.shape });
  return [b as number, n as number, D as number];
}

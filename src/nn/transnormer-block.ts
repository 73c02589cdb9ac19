/**
 * A block of TransNormerLLM: x1 = x + GLA(norm(x)), out = x1 + SGLU(norm(x1)), where the norm divides by the root mean
 * square and has no parameters. Letters: b batch, n tokens, D width.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995.
 */
import { checkChoice, checkWhole } from '../check';
import { lightningDecays, SCHEDULES, type Schedule } from '../methods/linear/lightning-attention/schedules';
import { add } from '../ops/map';
import { rmsNorm, rmsNormBackward } from '../ops/norm';
import type { Runtime } from '../runtime/runtime';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { GatedLinearAttention, type GatedLinearAttentionSettings } from './gated-linear-attention';
import {
  checkExtents,
  checkNames,
  checkPass,
  type Module,
  type ModuleControl,
  type ModuleGradients,
  type Parameters,
  partOf,
  prefixed,
} from './module';
import { SimpleGlu } from './simple-glu';

export interface TransnormerExtents {
  readonly width: number;
  readonly heads: number;
  /** Width within SGLU; the released models have 2.75 times the width. */
  readonly hidden: number;
  /** Which block of how many, from 0: the decays depend on it, and the first one has LRPE. */
  readonly layer: number;
  readonly layers: number;
  /** Of the decays: the paper's or that of the released models, which is the default. */
  readonly schedule?: Schedule | undefined;
}

const NAMES = [
  ...['q', 'k', 'v', 'u', 'o'].map((name) => `mixer.${name}`),
  ...['v', 'u', 'o'].map((name) => `channels.${name}`),
];

export class TransnormerBlock implements Module {
  readonly parameters: Parameters;
  readonly #mixer: GatedLinearAttention;
  readonly #channels: SimpleGlu;

  /** Those of GLA as `mixer.q` and so on, those of SGLU as `channels.v` and so on. */
  static shapes(extents: TransnormerExtents): Record<string, Shape> {
    const { width, heads, hidden, layer } = checked(extents);
    return {
      ...prefixed('mixer', GatedLinearAttention.shapes({ width, heads, lrpe: layer === 0 })),
      ...prefixed('channels', SimpleGlu.shapes({ width, hidden })),
    };
  }

  /** With the parameters that training starts from, and decays by the schedule. */
  static initial(runtime: Runtime, extents: TransnormerExtents, seed = 0): TransnormerBlock {
    const { width, heads, hidden, layer, schedule = 'released' } = checked(extents);
    const decay = lightningDecays(schedule, heads, extents);
    const mixer = GatedLinearAttention.initial(runtime, { width, heads, decay, lrpe: layer === 0 }, seed);
    const channels = SimpleGlu.initial(runtime, { width, hidden }, seed + 100);
    const parameters = { ...prefixed('mixer', mixer.parameters), ...prefixed('channels', channels.parameters) };
    return new TransnormerBlock(parameters as Parameters, mixer.settings);
  }

  constructor(parameters: Parameters, settings: GatedLinearAttentionSettings) {
    checkNames('TransnormerBlock', parameters, NAMES, ['mixer.theta']);
    this.parameters = parameters;
    this.#mixer = new GatedLinearAttention(partOf(parameters, 'mixer'), settings);
    this.#channels = new SimpleGlu(partOf(parameters, 'channels'));
  }

  forward(x: Tensor, control: ModuleControl = {}): Tensor {
    checkPass(this, { x }, control);
    return x.runtime.scope(() => {
      const { between, normal } = this.#halfway(x, control);
      return add(between, this.#channels.forward(normal, control));
    });
  }

  backward(x: Tensor, gradOut: Tensor, control: ModuleControl = {}): ModuleGradients {
    checkPass(this, { x, gradOut }, control);
    return x.runtime.scope(() => {
      const { first, between, normal } = this.#halfway(x, control);
      const channels = this.#channels.backward(normal, gradOut, control);
      const gradBetween = add(gradOut, rmsNormBackward(between, channels.x));
      const mixer = this.#mixer.backward(first, gradBetween, control);
      const gradX = add(gradBetween, rmsNormBackward(x, mixer.x));
      const parameters = { ...prefixed('mixer', mixer.parameters), ...prefixed('channels', channels.parameters) };
      return { x: gradX, parameters };
    });
  }

  #halfway(x: Tensor, control: ModuleControl) {
    const first = rmsNorm(x);
    const between = add(x, this.#mixer.forward(first, control));
    return { first, between, normal: rmsNorm(between) };
  }
}

function checked(extents: TransnormerExtents): TransnormerExtents {
  checkExtents(extents, ['width', 'heads', 'hidden', 'layers'], ['layer', 'schedule']);
  const { layer, layers, schedule } = extents;
  checkWhole('layer', layer, 0, layers - 1);
  checkChoice('schedule', schedule, SCHEDULES);
  return extents;
}

/**
 * A block of TransNormerLLM: x1 = x + GLA(norm(x)), out = x1 + SGLU(norm(x1)), where the norm divides by the root mean
 * square and has no parameters. Letters: b batch, n tokens, D width.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995.
 */
import { checkChoice, checkWhole } from '../check';
import { lightningDecays, SCHEDULES, type Schedule } from '../methods/linear/lightning-attention/schedules';
import { add } from '../ops/elementwise';
import { rmsNorm, rmsNormBackward } from '../ops/rms-norm';
import type { Runtime } from '../runtime/runtime';
import type { Shape } from '../tensor/shape';
import { Temporaries } from '../tensor/temporaries';
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

  async forward(x: Tensor, control: ModuleControl = {}): Promise<Tensor> {
    checkPass(this, { x }, control);
    using temporaries = new Temporaries();
    const { own } = temporaries;
    const { between, normal } = await this.#halfway(x, temporaries, control);
    return await add(between, await own(this.#channels.forward(normal, control)));
  }

  async backward(x: Tensor, gradOut: Tensor, control: ModuleControl = {}): Promise<ModuleGradients> {
    checkPass(this, { x, gradOut }, control);
    using temporaries = new Temporaries();
    const { own } = temporaries;
    const { first, between, normal } = await this.#halfway(x, temporaries, control);
    const channels = await ownGradients(this.#channels.backward(normal, gradOut, control), temporaries);
    const byBetween = await own(add(gradOut, await own(rmsNormBackward(between, channels.x))));
    const mixer = await ownGradients(this.#mixer.backward(first, byBetween, control), temporaries);
    const byX = await own(add(byBetween, await own(rmsNormBackward(x, mixer.x))));
    const parameters = { ...prefixed('mixer', mixer.parameters), ...prefixed('channels', channels.parameters) };
    temporaries.release({ ...parameters, x: byX });
    return { x: byX, parameters };
  }

  async #halfway(x: Tensor, { own }: Temporaries, control: ModuleControl) {
    const first = await own(rmsNorm(x));
    const between = await own(add(x, await own(this.#mixer.forward(first, control))));
    return { first, between, normal: await own(rmsNorm(between)) };
  }
}

function checked(extents: TransnormerExtents): TransnormerExtents {
  checkExtents(extents, ['width', 'heads', 'hidden', 'layers'], ['layer', 'schedule']);
  const { layer, layers, schedule } = extents;
  checkWhole('layer', layer, 0, layers - 1);
  checkChoice('schedule', schedule, SCHEDULES);
  return extents;
}

async function ownGradients(computing: Promise<ModuleGradients>, temporaries: Temporaries): Promise<ModuleGradients> {
  const { x, parameters } = await computing;
  await temporaries.ownAll({ ...parameters, x });
  return { x, parameters };
}

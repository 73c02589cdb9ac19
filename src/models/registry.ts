/** The models that the command line runs. */
import { checkParams, isRecord } from '../check';
import type { Specs } from '../methods/define';
import { findMethod } from '../methods/registry';
import type { ModuleControl, Parameters } from '../nn/module';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { createDecoder, type DecoderAttention, type DecoderConfig } from './decoder';

/** The attention of a decoder as JSON has it, with methods by their names. */
function namedAttention(given: unknown): unknown {
  if (typeof given === 'string') return findMethod(given);
  if (Array.isArray(given)) return given.map(namedAttention);
  if (!isRecord(given) || typeof given.method !== 'string') return given;
  return { ...given, method: findMethod(given.method) };
}

/** A model as its params say. */
interface Made {
  initialize(runtime: Runtime, options: { readonly seed: number }): Parameters;
  load(runtime: Runtime, file: Readonly<Record<string, HostTensor>>): Parameters;
  /** Its outputs by name. */
  run(parameters: Parameters, inputs: Readonly<Record<string, Tensor>>, control: ModuleControl): Record<string, Tensor>;
}

export interface Model {
  readonly name: string;
  /** In letters by name. */
  readonly inputs: Specs;
  create(params: Readonly<Record<string, unknown>>): Made;
}

const decoder: Model = {
  name: 'decoder',
  inputs: { tokens: 'b n' },
  create(params) {
    checkParams('decoder', params, ['config', 'attention']);
    const attention = namedAttention(params.attention) as DecoderAttention;
    const { forward, ...made } = createDecoder(params.config as DecoderConfig, { attention });
    return {
      ...made,
      run: (parameters, { tokens }, control) => ({ logits: forward(parameters, tokens as Tensor, control) }),
    };
  },
};

export const models: readonly Model[] = [decoder];

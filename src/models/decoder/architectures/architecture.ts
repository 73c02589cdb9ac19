/** What an architecture of decoders says: how its configuration is read, and what a decoder consists of by its names. */
import type { AttentionConfig } from '../../../nn/attention';
import type { Module, ModuleControl, Parameters } from '../../../nn/module';
import type { RopeOptions } from '../../../ops/rope';
import type { Tensor } from '../../../tensor/tensor';
import type { Settings } from './settings';

export interface Architecture {
  /** `model_type` in `config.json`. */
  readonly name: string;
  /** @throws {ParameterError} a setting that is missing, out of range or not supported, by its name */
  read(settings: Settings): Blueprint;
}

/** A module, and the prefix of its parameters in checkpoints. */
export interface Named<T> {
  readonly name: string;
  readonly module: T;
}

/** A decoder: tokens -> embedding, h [b, n, width] -> layers -> norm -> logits. */
export interface Blueprint {
  readonly width: number;
  /** Tokens that there are positions for; default: any number. */
  readonly context?: number | undefined;
  readonly embedding: Embedding;
  readonly layers: readonly LayerBlueprint[];
  /** Before the logits. */
  readonly norm: Named<Module>;
  /** The matrix [vocabulary, width] of the logits; that of the embedding if they are tied. */
  readonly head: string;
  /** Logits become softcap tanh(logit / softcap); default: they stay as they are. */
  readonly softcap?: number | undefined;
  /** Prefix of names that files may lack. */
  readonly prefix: string;
  /** Tensors in files that follow from the configuration. */
  readonly ignored: RegExp;
  /** The standard deviation of the normal numbers that matrices start from in training. */
  readonly std: number;
}

export interface Embedding extends Pick<Module, 'parameters'> {
  /** The matrix [vocabulary, width] among its parameters. */
  readonly table: string;
  /** tokens [b, n] i32 -> [b, n, width]; positions default to those from 0 on. */
  forward(tokens: Tensor, parameters: Parameters, context: EmbeddingContext): Tensor;
}

export interface EmbeddingContext extends ModuleControl {
  readonly positions?: RopeOptions['positions'];
}

/** h + after(attention(before(h))), and with the feed-forward network the same once more. */
export interface LayerBlueprint {
  /** Prefix of the layer's parameters. */
  readonly name: string;
  readonly attention: Branch<AttentionBlueprint>;
  readonly feedForward: Branch<Module>;
}

/** What is added to h: norms and module by their names within the layer. */
export interface Branch<T> extends Named<T> {
  readonly before: Named<Module>;
  /** Default: none. */
  readonly after?: Named<Module> | undefined;
}

export interface AttentionBlueprint
  extends Pick<AttentionConfig, 'bias' | 'qkNorm' | 'projections'>,
    Required<Pick<AttentionConfig, 'heads' | 'keyHeads' | 'd' | 'rope'>> {
  /** Params of exact attention, where no other is asked for: windows, soft caps, a scale. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
}

/** The layers of a decoder: attention by any causal method between norms and residual sums, and a gated feed-forward network. */
import { type InferInput, is } from 'valibot';
import { checkBoolean, checkKnown, isRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import { checkMethod, type Method, type MethodOf } from '../../methods/define';
import { exactAttention } from '../../methods/dense/attention';
import type { ParamsSchema } from '../../methods/params';
import { type AttentionContext, type AttentionLayer, attentionLayer, groupsHeads } from '../../nn/attention';
import { glu } from '../../nn/mlp';
import { type Described, type Parameters, partOf, prefixed } from '../../nn/module';
import { norm } from '../../nn/norm';
import { add } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import type { Extents } from './config';

/** A method with its params. */
export interface LayerAttention<Schema extends ParamsSchema = ParamsSchema> {
  readonly method: MethodOf<Schema>;
  /** As the method parses them; `causal` is true, and a schedule by layers knows the layer, unless they say otherwise. */
  readonly params?: InferInput<Schema> | undefined;
  /** Whether queries and keys are rotated by their positions, as the configuration says; default true. */
  readonly rope?: boolean | undefined;
}

/** For all layers, or for each. */
export type DecoderAttention<Schema extends ParamsSchema = ParamsSchema> =
  | Method
  | LayerAttention<Schema>
  | readonly (Method | LayerAttention)[];

export interface DecoderLayer {
  readonly attention: AttentionLayer;
  /** By their names within the layer. */
  readonly parameters: Described;
  /** h [b, n, width] -> the same shape. */
  forward(h: Tensor, parameters: Parameters, context: AttentionContext): Tensor<'f32'>;
}

/** @throws {ParameterError} a method that is unknown or that a decoder cannot use, and where */
export function layersOf(extents: Extents, attention: DecoderAttention | undefined): DecoderLayer[] {
  const { layers, windows } = extents;
  if (Array.isArray(attention) && attention.length !== layers)
    throw new ParameterError(`attention must be one for each of ${layers} layers, got ${attention.length}`);
  return windows.map((window, layer) => {
    const usual = { method: exactAttention, params: window === undefined ? {} : { window: [window - 1, 0] } };
    const given = Array.isArray(attention) ? attention[layer] : attention === undefined ? usual : attention;
    return layerOf(extents, isChoice(given) ? given : { method: given as Method }, layer);
  });
}

/** Whether a method comes with params, or alone. */
const isChoice = (given: unknown): given is LayerAttention => isRecord(given) && !('forward' in given);

function layerOf(extents: Extents, given: LayerAttention, layer: number): DecoderLayer {
  const { width, hidden, layers, heads, keyHeads, d, epsilon, activation, bias, hasQkNorm, rope } = extents;
  const where = `attention of layer ${layer}`;
  checkKnown(where, given, ['method', 'params', 'rope'], (name) => `${where} has no '${name}'`);
  checkBoolean(`rope of ${where}`, given.rope);
  const { method } = given;
  checkMethod(`method of ${where}`, method);
  const attention = attentionLayer({
    method,
    params: checkedParams(method, given.params ?? {}, { layer, layers }, where),
    width,
    heads,
    d,
    layer,
    layers,
    // A method without groups has keys and values for each query head.
    keyHeads: groupsHeads(method) ? keyHeads : heads,
    bias: { qkv: bias.qkv, out: bias.out },
    qkNorm: hasQkNorm ? { epsilon } : undefined,
    rope: given.rope === false ? undefined : rope,
  });
  const before = norm({ width, epsilon });
  const feedForward = glu({ width, hidden, activation, bias: bias.mlp });
  return {
    attention,
    parameters: {
      ...prefixed(before.parameters, 'input_layernorm'),
      ...prefixed(attention.parameters, 'self_attn'),
      ...prefixed(before.parameters, 'post_attention_layernorm'),
      ...prefixed(feedForward.parameters, 'mlp'),
    },
    forward: (h, parameters, context) =>
      h.runtime.scope(() => {
        const control = { signal: context.signal };
        const part = (name: string) => partOf(parameters, name);
        const attended = attention.forward(
          before.forward(h, part('input_layernorm'), control),
          part('self_attn'),
          context,
        );
        const between = add(h, attended);
        const normed = before.forward(between, part('post_attention_layernorm'), control);
        return add(between, feedForward.forward(normed, part('mlp'), control));
      }),
  };
}

/** The params of a method that a decoder can use: on sequences, and causal. */
function checkedParams(
  method: Method,
  given: Readonly<Record<string, unknown>>,
  place: { readonly layer: number; readonly layers: number },
  where: string,
): Readonly<Record<string, unknown>> {
  if (!isRecord(given)) throw new ParameterError(`params of ${where} must be an object, got ${show(given)}`);
  if (method.inputs.q?.includes('...space'))
    throw new ParameterError(`${where}: ${method.name} takes tokens on a grid, and a decoder has a sequence`);
  const usual = Object.entries({ causal: true, ...place }).filter(([name]) =>
    Object.hasOwn(method.params.entries, name),
  );
  const params = { ...Object.fromEntries(usual), ...given };
  if (isCausal(method, params)) return params;
  const cause = Object.keys(given).find((name) => {
    const others = Object.fromEntries([...usual, ...Object.entries(given).filter(([each]) => each !== name)]);
    return is(method.params, others) && isCausal(method, others);
  });
  const by = cause === undefined ? '' : ` by its param ${cause}, ${show(given[cause])}`;
  throw new ParameterError(`${where}: ${method.name} lets tokens see later ones${by}, but a decoder must be causal`);
}

/** Whether tokens see none after them. */
function isCausal(method: Method, params: Readonly<Record<string, unknown>>): boolean {
  const parsed = method.parse(params) as { readonly causal?: unknown };
  return method.isCausal ? method.isCausal(parsed) : parsed.causal === true;
}

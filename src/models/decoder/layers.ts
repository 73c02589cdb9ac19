/** The layers of a decoder: attention by any causal method, and a feed-forward network, between norms and residual sums. */
import { type InferInput, is } from 'valibot';
import { checkBoolean, checkKnown, isRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import { checkMethod, type Method, type MethodOf } from '../../methods/define';
import { exactAttention } from '../../methods/dense/attention';
import type { ParamsSchema } from '../../methods/params';
import { type AttentionContext, type AttentionLayer, attentionLayer, checkQkv, groupsHeads } from '../../nn/attention';
import { type Described, type Module, type Parameters, partFinder, prefixed } from '../../nn/module';
import { add } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import type { AttentionBlueprint, Blueprint, Branch, LayerBlueprint, Named } from './architectures/architecture';

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
export function layersOf({ layers, width }: Blueprint, attention: DecoderAttention | undefined): DecoderLayer[] {
  if (Array.isArray(attention) && attention.length !== layers.length)
    throw new ParameterError(`attention must be one for each of ${layers.length} layers, got ${attention.length}`);
  return layers.map((blueprint, layer) => {
    const usual = { method: exactAttention, params: blueprint.attention.module.params };
    const given = Array.isArray(attention) ? attention[layer] : attention === undefined ? usual : attention;
    const choice = isChoice(given) ? given : { method: given as Method };
    return layerOf(blueprint, choice, { layer, layers: layers.length, width });
  });
}

/** Whether a method comes with params, or alone. */
const isChoice = (given: unknown): given is LayerAttention => isRecord(given) && !('forward' in given);

interface Place {
  readonly layer: number;
  readonly layers: number;
  readonly width: number;
}

function layerOf({ attention, feedForward }: LayerBlueprint, given: LayerAttention, place: Place): DecoderLayer {
  const attended = attentionOf(attention.module, given, place);
  const branches = [attention, feedForward];
  const norms = branches.flatMap(({ before, after }) => (after ? [before, after] : [before]));
  const modules = [...norms, { ...attention, module: attended }, feedForward];
  const parts = new Map(modules.map(({ name, module }) => [name, partFinder(module.parameters, name)]));
  return {
    attention: attended,
    parameters: Object.assign({}, ...modules.map(({ name, module }) => prefixed(module.parameters, name))),
    forward: (h, parameters, context) =>
      h.runtime.scope(() => {
        const { signal, training, activations } = context;
        const control = { signal, training, activations };
        const partOf = (name: string) => (parts.get(name) as ReturnType<typeof partFinder>)(parameters);
        const normed = ({ name, module }: Named<Module>, x: Tensor) => module.forward(x, partOf(name), control);
        const added = (h: Tensor, { before, after }: Branch<unknown>, compute: (x: Tensor) => Tensor) => {
          const out = compute(normed(before, h));
          return add(h, after ? normed(after, out) : out);
        };
        const between = added(h, attention, (x) => attended.forward(x, partOf(attention.name), context));
        return added(between, feedForward, (x) => normed(feedForward, x));
      }),
  };
}

function attentionOf(blueprint: AttentionBlueprint, given: LayerAttention, place: Place): AttentionLayer {
  const where = `attention of layer ${place.layer}`;
  checkKnown(where, given, ['method', 'params', 'rope'], (name) => `${where} has no '${name}'`);
  checkBoolean(`rope of ${where}`, given.rope);
  const { method } = given;
  checkMethod(`method of ${where}`, method);
  checkQkv(`method of ${where}`, method);
  const { heads, keyHeads, rope } = blueprint;
  const { layer, layers } = place;
  return attentionLayer({
    ...blueprint,
    ...place,
    method,
    params: checkedParams(method, given.params ?? {}, { layer, layers }, where),
    // A method without groups has keys and values for each query head.
    keyHeads: groupsHeads(method) ? keyHeads : heads,
    rope: given.rope === false ? undefined : rope,
  });
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

import { ParameterError } from '../errors';
import type { Mask } from '../masks/mask';
import { type Inputs, type Letters, type Method, problemOfLetters } from '../methods/define';
import { findMethod } from '../methods/registry';
import type { Control } from '../runtime/backend';
import { gridOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { Comparison } from './comparison';

/** One setting of one method, to be measured. */
export interface Contender {
  readonly method: Method;
  /** The params as given, without defaults. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly label: string;
  readonly causal: boolean;
  /** Whether this is exact full or exact causal attention. */
  readonly baseline: boolean;
  /** Whether it takes q, k and v with their spatial axes. */
  readonly spatial: boolean;
  readonly mask?: Mask;
  /** Factor on the scores; undefined for the method's default. */
  readonly scale?: number;
  readonly flops: number;
  readonly visited?: number;
  forward(inputs: Inputs, control: Control): Promise<Results<Tensor>>;
}

/**
 * What comparable methods return: out [b, n, h, e] and lse [b, n, h], or with spatial axes in the place of n. Methods that
 * need training may return others beside out.
 */
export interface Results<T> {
  readonly out: T;
  readonly lse?: T;
}

export function disposeAll(results: Results<Tensor>): void {
  for (const tensor of Object.values(results)) tensor.dispose();
}

/** Whether a method computes attention from q, k and v alone, and so can be compared with the exact one. */
export function isComparable({ inputs, outputs, needsTraining = false }: Method): boolean {
  const returns = needsTraining ? 'out' in outputs : Object.keys(outputs).join() === 'out,lse';
  return Object.keys(inputs).join() === 'q,k,v' && returns;
}

/** Whether q, k and v of a method have spatial axes. */
export function isSpatial({ inputs }: Method): boolean {
  return (inputs.q as string).includes('...space');
}

/** Letters of the extents of a comparison. */
export function lettersAt({ extents, grid = [] }: Pick<Comparison, 'extents' | 'grid'>): Letters {
  return { ...extents, ...Object.fromEntries(grid.map((extent, axis) => [`space${axis}`, extent])) };
}

/** Throws a ParameterError unless the method can be compared. */
export function checkComparable(method: Method): void {
  if (isComparable(method)) return;
  const { name, inputs, outputs, needsTraining } = method;
  const more = inputsBeyond(method);
  if (more.length > 0)
    throw new ParameterError(
      `${name} cannot be compared: beside q, k and v it takes ${more.join(', ')}, which only a model has`,
    );
  throw new ParameterError(
    `${name} cannot be compared: expected inputs q, k, v and ${needsTraining ? 'an output out' : 'outputs out, lse'}, got ${Object.keys(inputs).join(', ')} and ${Object.keys(outputs).join(', ')}`,
  );
}

/** What a method cannot do without, beside q, k and v. */
export function inputsBeyond({ inputs }: Method): string[] {
  return Object.keys(inputs).filter((name) => !['q', 'k', 'v'].includes(name));
}

/**
 * Exact full attention and the variants that are to be measured by it, then exact causal attention and its own; on a
 * grid the full ones alone, as its tokens come in no order of time.
 */
export function contendersAt(letters: Letters, methods: readonly Method[]): Contender[] {
  const exact = findMethod('attention');
  const baselines = [{}, { causal: true }].map((params) => contender(exact, params, letters, true));
  const isBaseline = (method: Method, params: object) =>
    baselines.some((base) => base.method === method && sameParams(method, base.params, params));
  const variants = methods.flatMap((method) =>
    withShortLabels(
      method
        .variants(letters)
        .filter((params) => !isBaseline(method, params))
        .map((params) => contender(method, params, letters, false)),
    ),
  );
  const all = [...baselines, ...variants];
  const full = all.filter(({ causal }) => !causal);
  return gridOf(letters).length > 0 ? full : [...full, ...all.filter(({ causal }) => causal)];
}

function contender(method: Method, given: Record<string, unknown>, letters: Letters, baseline: boolean): Contender {
  const params = method.parse(given) as { readonly causal?: boolean; readonly scale?: number };
  const mask = method.mask?.(params, problemOfLetters(letters));
  const { flops, visited } = method.cost(letters, params);
  return {
    method,
    params: given,
    label: baseline ? `exact ${mask?.name}` : (mask?.name ?? method.name),
    causal: method.isCausal?.(params) ?? params.causal === true,
    baseline,
    spatial: isSpatial(method),
    flops,
    ...(visited !== undefined && { visited }),
    ...(mask && { mask }),
    ...(params.scale !== undefined && { scale: params.scale }),
    forward: (inputs, control) => method.forward(inputs, params, control) as unknown as Promise<Results<Tensor>>,
  };
}

/**
 * Variants of one method, each called by the method's short name and the params in which it differs from the others of
 * its use, full or causal. The name of the mask already says what windows of exact attention are.
 */
function withShortLabels(variants: readonly Contender[]): Contender[] {
  const labels = variants.map(({ method, params, causal, label }) => {
    if (method === findMethod('attention')) return label;
    const alike = variants.filter((other) => other.causal === causal);
    const isShared = (name: string) =>
      alike.length > 1 && alike.every((other) => JSON.stringify(other.params[name]) === JSON.stringify(params[name]));
    const settings = Object.entries(params).flatMap(([name, value]) =>
      isShared(name) ? [] : settingText(name, value),
    );
    return [method.short ?? method.name.replace(/-attention$/, ''), ...settings].join(' ');
  });
  const isTwice = (label: string) => labels.indexOf(label) !== labels.lastIndexOf(label);
  return variants.map((variant, at) => {
    const label = labels[at] as string;
    return { ...variant, label: variant.causal && isTwice(label) ? `${label} causal` : label };
  });
}

/** Such as `gated`, `window 7x7` or `globals [0,9]`. */
function settingText(name: string, value: unknown): string {
  if (value === true) return name;
  const isExtents = Array.isArray(value) && value.length > 1 && value.every((extent) => extent >= 0);
  return `${name} ${isExtents ? value.join('x') : typeof value === 'string' ? value : JSON.stringify(value)}`;
}

/** Params parse to the same settings, in the order of the schema. */
function sameParams(method: Method, a: object, b: object): boolean {
  return JSON.stringify(method.parse(a)) === JSON.stringify(method.parse(b));
}

import { ParameterError } from '../errors';
import type { Mask } from '../masks/mask';
import { type Inputs, type Letters, type Method, problemOfLetters } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import type { Control } from '../runtime/backend';
import { gridOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { Comparison, LeftOut } from './comparison';

/** Queries [b, n, h, d], keys [b, m, g, d] and values [b, m, g, e]; a grid may replace n and m. */
export interface Qkv {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

type Params = Readonly<Record<string, unknown>>;

/** What was calibrated for the model that q, k and v are of: the params of each layer, by method; and which layer they are of. */
export interface Calibrated {
  readonly layer: number;
  readonly layers: ReadonlyMap<Method, readonly Params[]>;
}

/** One setting of one method, to be measured. */
export interface Contender {
  readonly method: Method;
  /** The params as given, without defaults. */
  readonly params: Params;
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
  /** By the params of a layer where those are calibrated, by default of the layer that is compared, or drawn, by default of the first. */
  forward(inputs: Inputs, control: Control, layer?: number): Results<Tensor>;
}

/**
 * What is read of the results of comparable methods: out [b, n, h, e] and, where they have a mask, lse [b, n, h].
 */
export type Results<T> = { readonly out: T; readonly lse?: T };

/** Whether a method computes attention from q, k, v and stand-ins for the rest, and so can be compared with exact attention. */
export function isComparable(method: Method): boolean {
  const { outputs, promised = [], needsTraining = false, calibration } = method;
  // What is calibrated against exact attention stands in for it.
  const isJudged = needsTraining || 'lse' in outputs || isSpatial(method) || calibration !== undefined;
  const returns = 'out' in outputs && isJudged;
  return inputsBeyond(method).length === 0 && returns && !promised.includes('out');
}

/**
 * Inputs that a model projects like q, such as Parallax's r: q itself stands in for them, since methods that need training
 * are only judged by their cost and their kernels' errors.
 */
function standIns<T>({ layer, parse, needsTraining }: Method, q: T): Record<string, T> {
  if (!needsTraining || !layer) return {};
  const one = { width: 1, heads: 1, keyHeads: 1, d: 1, e: 1, layer: 0, layers: 1 };
  return Object.fromEntries((layer(one, parse({})).queries ?? []).map((name) => [name, q]));
}

/** The inputs of a comparable method, of tensors or of their numbers. */
export function inputsOf<T>(method: Method, qkv: Readonly<Record<'q' | 'k' | 'v', T>>): Record<string, T> {
  return { ...qkv, ...standIns(method, qkv.q) };
}

/** Whether q, k and v of a method have spatial axes. */
export function isSpatial({ inputs }: Method): boolean {
  return inputs.q?.includes('...space') ?? false;
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

/** Required inputs that only a model has. */
export function inputsBeyond(method: Method): string[] {
  const known = inputsOf(method, { q: 0, k: 0, v: 0 });
  return Object.keys(method.inputs).filter((name) => !(name in known));
}

/** A contender whose cost is not counted yet. */
type Candidate = Omit<Contender, 'flops' | 'visited'>;

/** How many variants are measured, beside the baselines, unless methods are named. */
const USUAL = 26;

/**
 * Exact full attention and the variants that are compared with it, then exact causal attention and its variants; on a
 * grid only full attention, since its tokens have no order in time. Either a selection of `usual` variants, or all.
 */
export function contendersAt(
  letters: Letters,
  methods: readonly Method[],
  choice: 'usual' | 'all',
  calibrated?: Calibrated,
): { readonly contenders: Contender[]; readonly leftOut: LeftOut } {
  const baselines = [{}, { causal: true }].map((params) => candidate(exactAttention as Method, params, letters, true));
  const isBaseline = (method: Method, params: Params) =>
    baselines.some((base) => base.method === method && sameParams(method, base.params, params));
  const onGrid = gridOf(letters).length > 0;
  const isUsable = ({ causal }: Candidate) => !(onGrid && causal);
  const variantsOf = (method: Method): Candidate[] => {
    try {
      const others = method.variants(letters).filter((params) => !isBaseline(method, params));
      const variants = withShortLabels(others.map((params) => candidate(method, params, letters, false)));
      return [...calibratedVariant(method, letters, calibrated), ...variants];
    } catch (error) {
      return [
        failing({ method, params: {}, label: shortName(method), causal: false, spatial: isSpatial(method) }, error),
      ];
    }
  };
  const variants = methods.flatMap((method) => variantsOf(method).filter(isUsable));
  const chosen = choice === 'usual' ? usual(variants) : variants;
  const isIn = (method: Method) => [...baselines, ...chosen].some((each) => each.method === method);
  const all = [...baselines.filter(isUsable), ...chosen].map((each) => withCost(each, letters));
  const contenders = [false, true].flatMap((use) => byCost(all.filter(({ causal }) => causal === use)));
  return {
    contenders,
    leftOut: {
      variants: variants.length - chosen.length,
      methods: methods
        .filter((method) => variants.some((each) => each.method === method) && !isIn(method))
        .map(({ name }) => name),
    },
  };
}

/**
 * In turns by method and use (full or causal): first as many of the method's variants as `leads`, then as many more, up to
 * `USUAL`. In each turn, variants that work without training come first.
 */
function usual(variants: readonly Candidate[]): Candidate[] {
  const counts = new Map<string, number>();
  const turns = new Map<Candidate, number>();
  for (const variant of variants) {
    const use = `${variant.method.name} ${variant.causal}`;
    const before = counts.get(use) ?? 0;
    counts.set(use, before + 1);
    turns.set(variant, Math.floor(before / (variant.method.leads ?? 1)));
  }
  const rank = (variant: Candidate) =>
    2 * (turns.get(variant) as number) + Number(variant.method.needsTraining ?? false);
  const chosen = new Set([...variants].sort((a, b) => rank(a) - rank(b)).slice(0, USUAL));
  return variants.filter((variant) => chosen.has(variant));
}

/** Sorts the variants of a method by cost; methods keep their order, with a baseline before its variants. */
function byCost(contenders: readonly Contender[]): Contender[] {
  const groups = [...new Set(contenders.filter(({ baseline }) => !baseline).map(({ method }) => method))];
  const sorted = groups.flatMap((method) =>
    contenders.filter((each) => !each.baseline && each.method === method).sort((a, b) => a.flops - b.flops),
  );
  return [...contenders.filter(({ baseline }) => baseline), ...sorted];
}

function candidate(method: Method, given: Params, letters: Letters, baseline: boolean): Candidate {
  const params = method.parse(given) as { readonly causal?: boolean; readonly scale?: number };
  const mask = method.mask?.(params, problemOfLetters(letters));
  return {
    method,
    params: given,
    label: baseline ? `exact ${mask?.name}` : (mask?.name ?? method.name),
    causal: method.isCausal?.(params) ?? params.causal === true,
    baseline,
    spatial: isSpatial(method),
    ...(mask && { mask }),
    ...(params.scale !== undefined && { scale: params.scale }),
    forward: (inputs, control, layer = 0) =>
      method.forward(
        inputsOf(method, inputs as never),
        method.drawn?.(params, { layer }) ?? params,
        control,
      ) as unknown as Results<Tensor>,
  };
}

/** A method by what was calibrated for it, if anything was. */
function calibratedVariant(method: Method, letters: Letters, calibrated: Calibrated | undefined): Candidate[] {
  const layers = calibrated?.layers.get(method);
  if (!calibrated || !layers) return [];
  const all = layers.map((params) => candidate(method, params, letters, false));
  return [
    {
      ...(all[calibrated.layer] as Candidate),
      label: `${shortName(method)} calibrated`,
      forward: (inputs, control, layer = calibrated.layer) => (all[layer] as Candidate).forward(inputs, control),
    },
  ];
}

/** A candidate that fails when it is called, so that an earlier error of its method costs only its own row. */
function failing(candidate: Omit<Candidate, 'baseline' | 'forward'>, error: unknown): Candidate {
  return {
    baseline: false,
    ...candidate,
    forward() {
      throw error;
    },
  };
}

function withCost(candidate: Candidate, letters: Letters): Contender {
  const { method, params } = candidate;
  try {
    const { flops, visited } = method.cost(letters, method.parse(params));
    return { ...candidate, flops, ...(visited !== undefined && { visited }) };
  } catch (error) {
    return { ...failing(candidate, error), flops: 0 };
  }
}

const shortName = ({ name, short }: Method): string => short ?? name.replace(/-attention$/, '');

/**
 * Variants of one method, each called by the method's short name and the params in which it differs from the others of
 * its use, full or causal. The name of the mask already says what windows of exact attention are.
 */
function withShortLabels(variants: readonly Candidate[]): Candidate[] {
  const labels = variants.map(({ method, params, causal, label }) => {
    if (method === exactAttention) return label;
    const alike = variants.filter((other) => other.causal === causal);
    const isShared = (name: string) =>
      (name === 'causal' && params.causal === causal) ||
      (alike.length > 1 && alike.every((other) => JSON.stringify(other.params[name]) === JSON.stringify(params[name])));
    const settings = Object.entries(params).flatMap(([name, value]) =>
      isShared(name) ? [] : settingText(name, value),
    );
    return [shortName(method), ...settings].join(' ');
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

/** Whether params parse to the same settings. */
function sameParams(method: Method, a: Params, b: Params): boolean {
  return JSON.stringify(method.parse(a)) === JSON.stringify(method.parse(b));
}

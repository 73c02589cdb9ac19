import { ParameterError } from '../errors';
import type { Mask } from '../masks/mask';
import { type Inputs, type Letters, type Method, problemOfLetters } from '../methods/define';
import { findMethod } from '../methods/registry';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

/** One setting of one method, to be measured. */
export interface Contender {
  readonly method: Method;
  /** The params as given, without defaults. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly label: string;
  readonly causal: boolean;
  /** Whether this is exact full or exact causal attention. */
  readonly baseline: boolean;
  readonly mask?: Mask;
  /** Factor on the scores; undefined for the method's default. */
  readonly scale?: number;
  readonly flops: number;
  readonly visited?: number;
  forward(inputs: Inputs, control: Control): Promise<Results<Tensor>>;
}

/** What comparable methods return: out [b, n, h, e] and lse [b, n, h]. */
export interface Results<T> {
  readonly out: T;
  readonly lse: T;
}

/** Whether a method computes attention from q, k and v alone, and so can be compared with the exact one. */
export function isComparable({ inputs, outputs }: Method): boolean {
  return Object.keys(inputs).join() === 'q,k,v' && Object.keys(outputs).join() === 'out,lse';
}

/** Throws a ParameterError unless the method can be compared. */
export function checkComparable(method: Method): void {
  if (isComparable(method)) return;
  const { name, inputs, outputs } = method;
  throw new ParameterError(
    `${name} cannot be compared: expected inputs q, k, v and outputs out, lse, got ${Object.keys(inputs).join(', ')} and ${Object.keys(outputs).join(', ')}`,
  );
}

/** Exact full attention and the variants that are to be measured by it, then exact causal attention and its own. */
export function contendersAt(letters: Letters, methods: readonly Method[]): Contender[] {
  const exact = findMethod('attention');
  const baselines = [{}, { causal: true }].map((params) => contender(exact, params, letters, true));
  const isBaseline = (method: Method, params: object) =>
    baselines.some((base) => base.method === method && sameParams(method, base.params, params));
  const variants = methods.flatMap((method) =>
    method
      .variants(letters)
      .filter((params) => !isBaseline(method, params))
      .map((params) => contender(method, params, letters, false)),
  );
  const all = [...baselines, ...variants];
  return [...all.filter(({ causal }) => !causal), ...all.filter(({ causal }) => causal)];
}

function contender(method: Method, given: Record<string, unknown>, letters: Letters, baseline: boolean): Contender {
  const params = method.parse(given) as { readonly causal?: boolean; readonly scale?: number };
  const mask = method.mask?.(params, problemOfLetters(letters));
  const { flops, visited } = method.cost(letters, params);
  const causal = method.isCausal?.(params) ?? params.causal === true;
  return {
    method,
    params: given,
    label: baseline ? `exact ${mask?.name}` : labelOf(method, given, mask),
    causal,
    baseline,
    flops,
    ...(visited !== undefined && { visited }),
    ...(mask && { mask }),
    ...(params.scale !== undefined && { scale: params.scale }),
    forward: (inputs, control) => method.forward(inputs, params, control) as unknown as Promise<Results<Tensor>>,
  };
}

/** The name of the mask says what windows of exact attention are; other methods say their own name too. */
function labelOf(method: Method, params: object, mask: Mask | undefined): string {
  if (method === findMethod('attention') && mask) return mask.name;
  const settings = Object.entries(params).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return [method.name, ...settings].join(' ');
}

/** Params parse to the same settings, in the order of the schema. */
function sameParams(method: Method, a: object, b: object): boolean {
  return JSON.stringify(method.parse(a)) === JSON.stringify(method.parse(b));
}

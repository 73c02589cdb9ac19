import { keyWords } from '../../../src/masks/key-words';
import { type Cost, type Letters, type Method, problemOfLetters } from '../../../src/methods/define';
import { type Extents, lettersOf } from '../../../src/methods/page';
import { describeParams } from '../../../src/methods/params';
import { baseline, methods } from '../../../src/methods/registry';
import { nextTurn } from '../../../src/next-turn';
import type { BackendName } from '../../../src/runtime/backend';
import type { TaskControl } from '../answer';
import type { MethodTime } from '../method-time';
import { costInLayer, isAttention, isSpatial } from '../problem';
import type { Setting } from './setting';

export interface Wish {
  readonly tokens: number;
  readonly dimension: number;
  readonly causal: boolean;
  /** Whether a model can be trained, or trained further, with the method. */
  readonly training: boolean;
  /** Whether tokens lie on a grid, as those of a picture do. */
  readonly grid: boolean;
  readonly device: BackendName;
}

export interface Choice {
  readonly setting: Setting;
  /** It is what the others are measured against. */
  readonly isBaseline: boolean;
  /** Operations of one head, and how many times as many exact attention takes. */
  readonly flops: number;
  readonly gain: number;
  /** How many times as fast as exact attention it should be: by what was measured, if anything was, and what is counted. */
  readonly speedup: number;
  readonly measured?: MethodTime;
  /** Keys that the last token sees in one layer. */
  readonly sees: number;
  /** Bytes that a head keeps for the next token. */
  readonly kept: number;
  /** Why not, for those that are left out. */
  readonly refused?: string;
  /** Other inputs, besides q, k and v, that a layer must compute. */
  readonly besides: readonly string[];
  readonly training: string;
}

/** What is wished of a method, and the extents of its page's sample, for letters that no wish tells. */
interface Asked extends Wish {
  readonly sample: Extents;
}

/** All methods: first those that fit, the fastest first, then the others with the reason. */
export async function chooseFrom(
  { wish, times }: { readonly wish: Wish; readonly times: readonly MethodTime[] },
  { signal, report }: TaskControl,
): Promise<Choice[]> {
  // Pages of methods, which choose nothing, do without the papers.
  const { findPaper } = await import('../../../src/papers/find');
  const choices: Choice[] = [];
  for (const method of methods.filter(isAttention)) {
    // Counting takes time for some masks.
    await nextTurn();
    signal?.throwIfAborted();
    report(method.name);
    const training = findPaper(method.paper)?.training ?? (method.needsTraining ? 'needed' : 'not needed');
    const { page } = await method.page!();
    const asked = { ...wish, sample: page.sample.extents };
    const choice = judged(method, asked, training);
    choices.push(choice.refused ? choice : expected(choice, method, asked, times));
  }
  const rank = ({ refused, speedup }: Choice) => (refused ? 0 : speedup);
  return choices.sort((a, b) => rank(b) - rank(a));
}

/**
 * A method takes so many operations fewer than exact attention and is so many times as fast where it was measured: what
 * its operations cost is taken to be the same at other lengths.
 */
function expected(choice: Choice, method: Method, wish: Asked, times: readonly MethodTime[]): Choice {
  const measured = nearest(method, wish, times);
  if (!measured) return choice;
  const { tokens, dimension } = measured;
  const there = judged(method, { ...wish, tokens, dimension }, choice.training);
  return { ...choice, measured, speedup: (choice.gain * measured.speedup) / there.gain };
}

/** The measurement made here or, if there is none, a stored one, at the nearest length. */
function nearest({ name }: Method, { tokens, dimension, causal, device }: Wish, times: readonly MethodTime[]) {
  const all = times.filter((time) => time.method === name && time.causal === causal && time.backend === device);
  const here = all.filter((time) => time.machine === undefined && time.dimension === dimension);
  const distance = (time: MethodTime) => Math.abs(Math.log(time.tokens / tokens));
  return (here.length > 0 ? here : all.filter(({ machine }) => machine !== undefined)).sort(
    (a, b) => distance(a) - distance(b),
  )[0];
}

/** `paperSays`: whether a model must be trained with it, by its paper. */
function judged(method: Method, wish: Asked, paperSays: string): Choice {
  const extents = extentsOf(method, wish);
  const letters = lettersOf(extents);
  const params = fitting(method, letters, wish.causal);
  const setting = { method: method.name, extents, params: params ?? {} };
  const besides = Object.keys(method.inputs).filter((input) => !['q', 'k', 'v'].includes(input));
  // Weights of what a layer computes besides are learned.
  const training = besides.length > 0 ? 'needed' : paperSays;
  const exact = wish.tokens * (wish.causal ? (wish.tokens + 1) / 2 : wish.tokens) * 4 * wish.dimension;
  const none = {
    setting,
    isBaseline: method === baseline,
    flops: 0,
    gain: 0,
    speedup: 0,
    sees: 0,
    kept: 0,
    besides,
    training,
  };
  if (isSpatial(method) && !wish.grid) return { ...none, refused: 'it is for tokens on a grid' };
  if (!params) {
    const isCausalOnly = !wish.causal && fitting(method, letters, true);
    const refused = wish.causal
      ? 'it has no causal form'
      : isCausalOnly
        ? 'it is causal only'
        : 'no setting of it fits';
    return { ...none, refused };
  }
  if (training === 'needed' && !wish.training) return { ...none, refused: 'a model must be trained with it' };
  const found = counted(method, wish);
  if (!found) return { ...none, refused: 'no setting of it fits so few tokens' };
  const { sees, cost } = found;
  const { flops, state } = cost;
  const gain = exact / flops;
  return { ...none, flops, gain, speedup: gain, sees, kept: state || 8 * wish.tokens * wish.dimension };
}

/** Tokens up to which operations and keys are counted; beyond, they go on as they grew from half as many. */
const MOST_COUNTED = 8192;

interface Counted {
  readonly cost: Cost;
  /** Keys that the last query sees, by a mask; all tokens otherwise. */
  readonly sees: number;
}

function counted(method: Method, wish: Asked): Counted | undefined {
  if (wish.tokens > MOST_COUNTED) {
    const [half, most] = [MOST_COUNTED / 2, MOST_COUNTED].map((tokens) => counted(method, { ...wish, tokens }));
    if (!half || !most) return undefined;
    const times = wish.tokens / MOST_COUNTED;
    const grown = (from: number, to: number) => to * times ** Math.log2(to / from);
    const cost = { ...most.cost, flops: grown(half.cost.flops, most.cost.flops) };
    return { cost, sees: Math.min(wish.tokens, Math.round(grown(half.sees, most.sees))) };
  }
  const letters = lettersOf(extentsOf(method, wish));
  const params = fitting(method, letters, wish.causal);
  if (!params) return undefined;
  const parsed = method.parse(params) as never;
  const problem = problemOfLetters(letters);
  const mask = method.mask?.(parsed, problem);
  const place = { ...problem, batch: 0, head: 0 };
  return {
    cost: costInLayer(method, letters, parsed),
    sees: mask ? keyWords(mask, [problem.n - 1], place).count() : problem.n,
  };
}

function extentsOf(method: Method, { tokens, dimension, grid, sample }: Asked): Extents {
  const side = Math.round(Math.sqrt(tokens));
  const columns = grid ? side : Math.ceil(tokens / side);
  return { ...sample, ...(isSpatial(method) ? { rows: side, columns } : { n: tokens }), h: 1, d: dimension };
}

/** Undefined for params that the method refuses, such as none where it needs some. */
function parsedOr(method: Method, params: Record<string, unknown>): { readonly causal?: unknown } | undefined {
  try {
    return method.parse(params);
  } catch {
    return undefined;
  }
}

/** The first setting worth comparing that is causal, or is not, as wished. */
function fitting(method: Method, letters: Letters, causal: boolean): Record<string, unknown> | undefined {
  const own = describeParams(method.params).some(
    ({ name, type }) => name === 'causal' && type.includes('true or false'),
  );
  const variants = method.variants(letters) as Record<string, unknown>[];
  const candidates = [
    ...variants,
    ...(variants.length === 0 ? [{}] : []),
    ...(own && causal ? [{ ...variants[0], causal }] : []),
  ];
  const isCausal = (params: Record<string, unknown>) => {
    const parsed = parsedOr(method, params);
    if (!parsed) return false;
    return method.isCausal?.(parsed as never) ?? parsed.causal === true;
  };
  return candidates.find((params) => isCausal(params) === causal);
}

/**
 * What context-parallel attention sends, holds and takes on many devices: closed forms for the five mechanisms of the Long-Context
 * Attention Benchmark and for an exchange of the keys that are seen, and an alpha-beta model of their links. Source: Bu et al. 2025, arXiv 2510.17896, and the authors'
 * code; the last mechanism and the model of time are ours.
 */
import { checkArray, checkBoolean, checkNumber, checkOptions, checkWhole } from '../check';
import { ParameterError } from '../errors';

export const MECHANISMS = ['ulysses', 'ring', 'all-gather', 'usp', 'loongtrain', 'edges'] as const;
export type Mechanism = (typeof MECHANISMS)[number];

/** A message of s bytes takes `seconds` + s / `bytesPerSecond`, each way at once. */
export interface Link {
  readonly seconds: number;
  readonly bytesPerSecond: number;
}

export interface ContextParallelSettings {
  readonly devices: number;
  /** Tokens of all devices together. */
  readonly tokens: number;
  readonly heads: number;
  /** Default: as many as heads. */
  readonly keyHeads?: number | undefined;
  /** Columns of a head. */
  readonly d: number;
  /** Default: true. */
  readonly causal?: boolean | undefined;
  /** Lengths of documents, which see nothing of each other; they sum to `tokens`. Default: one document. */
  readonly documents?: readonly number[] | undefined;
  /** Pairs of a query and a key that it sees, for any other mask. Default: those of `documents` and `causal`, which are padded. */
  readonly pairs?: number | undefined;
  /**
   * Keys before its own that a query sees, causal, in one document: devices then have runs of tokens, not zigzag. Default: all.
   */
  readonly window?: number | undefined;
  /**
   * What the mechanism `edges` sends: the keys that the busiest device sends others, counted for each that sees them, and to how many
   * devices; the most keys that a device sends and is sent, whose gradients it sends back. Default: those of `window`, or all of its
   * own to all others.
   */
  readonly edges?: { readonly keys: number; readonly devices: number; readonly both: number } | undefined;
  /** Bytes of an element. Default: 2. */
  readonly bytes?: number | undefined;
  /** Devices of a node. Default: 8. */
  readonly node?: number | undefined;
  /** Links within a node and between nodes, for each device. Default: 450 GB/s and 50 GB/s, 5 and 10 microseconds. */
  readonly within?: Link | undefined;
  readonly between?: Link | undefined;
  /** Multiply-adds count as two. Default: 600e12 a second for each device. */
  readonly flopsPerSecond?: number | undefined;
}

/** One pass, for the busiest device. Seconds: `exposed` are those of exchange that no computing hides. */
export interface PassCost {
  readonly elementsSent: number;
  readonly bytesHeld: number;
  readonly computing: number;
  readonly exchange: number;
  readonly exposed: number;
}

export interface MechanismCost {
  readonly mechanism: Mechanism;
  /** Devices among which heads are divided, and those among which tokens are. */
  readonly ulysses: number;
  readonly ring: number;
  /** Rows that only pad, as a share of the tokens. */
  readonly padding: number;
  readonly forward: PassCost;
  readonly backward: PassCost;
  /** Seconds of both passes. */
  readonly seconds: number;
  /** Why it cannot run, if it cannot. */
  readonly refused?: string;
}

/** Among so many devices at most 2-D mechanisms divide heads, and among fewer where heads do not divide by them. */
const MOST_ULYSSES = 8;
/** Work of the backward pass beside the forward pass. */
const BACKWARD_WORK = 2.5;
const LINKS = {
  within: { seconds: 5e-6, bytesPerSecond: 450e9 },
  between: { seconds: 10e-6, bytesPerSecond: 50e9 },
} as const;
const NAMES = [
  ...['devices', 'tokens', 'heads', 'keyHeads', 'd', 'causal', 'documents', 'pairs', 'window', 'edges'],
  ...['bytes', 'node', 'within', 'between', 'flopsPerSecond'],
];

const isPositive = (value: number) => Number.isFinite(value) && value > 0;

type OfMask = 'pairs' | 'window' | 'edges';
type Settings = {
  readonly [Name in keyof Omit<ContextParallelSettings, OfMask>]-?: NonNullable<ContextParallelSettings[Name]>;
} & Pick<ContextParallelSettings, OfMask>;

/**
 * Each mechanism's cost, cheapest first; those that cannot run come last.
 *
 * @throws {ParameterError} documents that do not sum to the tokens, or a setting that is not a number in its range
 */
export function simulateContextParallel(given: ContextParallelSettings): MechanismCost[] {
  const settings = checked('simulateContextParallel', given);
  const costs = MECHANISMS.map((mechanism) => costOf(mechanism, settings));
  return costs.sort((a, b) => Number(!!a.refused) - Number(!!b.refused) || a.seconds - b.seconds);
}

/** The most work of a device beside the mean, if each takes a run of tokens; zigzag makes it 1. */
export function contiguousImbalance(given: ContextParallelSettings): number {
  const { devices, tokens, causal, documents, window } = checked('contiguousImbalance', given);
  // Pairs of queries before token t and the keys that they see.
  const pairsBefore = (t: number): number => {
    if (window !== undefined) return pairsWithin(window, t);
    let [pairs, start] = [0, 0];
    for (const length of documents) {
      const rows = Math.min(Math.max(t - start, 0), length);
      pairs += causal ? (rows * (rows + 1)) / 2 : rows * length;
      start += length;
    }
    return pairs;
  };
  let [most, before] = [0, 0];
  for (let device = 1; device <= devices; device++) {
    const upTo = pairsBefore((tokens * device) / devices);
    most = Math.max(most, upTo - before);
    before = upTo;
  }
  return (most * devices) / before;
}

/** Pairs of the first queries and the keys that they see in a causal window. */
function pairsWithin(window: number, queries: number): number {
  const short = Math.min(window, queries);
  return (short * (short + 1)) / 2 + (queries - short) * (window + 1);
}

/** What the busiest device sends of its keys: by default all to all others. */
function edgesOf({ devices, tokens, window, edges }: Settings): NonNullable<ContextParallelSettings['edges']> {
  if (edges) return edges;
  const [run, others] = [tokens / devices, devices - 1];
  const reached = (devices: number) => Math.min(window ?? tokens, devices * run);
  const keys = reached(others);
  // All others see the keys of a device, and it theirs; in a window the one in the middle sends and is sent most.
  const before = window === undefined ? others : Math.floor(others / 2);
  const behind = window === undefined ? others : others - before;
  return { keys, devices: Math.ceil(keys / run), both: reached(before) + reached(behind) };
}

function checked(caller: string, given: ContextParallelSettings): Settings {
  checkOptions(caller, given, NAMES);
  const settings = {
    ...{ causal: true, bytes: 2, node: 8, flopsPerSecond: 600e12, keyHeads: given.heads, ...LINKS },
    documents: [given.tokens],
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  } as unknown as Settings;
  for (const name of ['devices', 'tokens', 'heads', 'keyHeads', 'd', 'bytes', 'node'] as const)
    checkWhole(name, settings[name], 1);
  const { pairs, window, edges } = settings;
  for (const [name, count] of Object.entries({ pairs, window })) if (count !== undefined) checkWhole(name, count, 0);
  if (edges !== undefined) {
    checkOptions('edges', edges, ['keys', 'devices', 'both']);
    for (const name of ['keys', 'devices', 'both'] as const) checkWhole(`edges.${name}`, edges[name], 0);
  }
  checkBoolean('causal', settings.causal);
  checkNumber('flopsPerSecond', settings.flopsPerSecond, 'a number above 0', isPositive);
  for (const name of ['within', 'between'] as const) {
    checkOptions(name, settings[name], ['seconds', 'bytesPerSecond']);
    for (const part of ['seconds', 'bytesPerSecond'] as const)
      checkNumber(`${name}.${part}`, settings[name][part], 'a number above 0', isPositive);
  }
  const { heads, keyHeads, tokens, documents } = settings;
  if (heads % keyHeads !== 0) throw new ParameterError(`keyHeads must divide heads ${heads}, got ${keyHeads}`);
  checkArray('documents', documents);
  for (const [at, length] of documents.entries()) checkWhole(`documents[${at}]`, length, 1);
  const sum = documents.reduce((total, length) => total + length, 0);
  if (sum !== tokens) throw new ParameterError(`documents must sum to the ${tokens} tokens, got ${sum}`);
  return settings;
}

/** How a mechanism lays its devices out: rank = ulysses index x `ulyssesStride` + ring index x `ringStride`. */
export interface Layout {
  readonly ulysses: number;
  readonly ring: number;
  readonly ulyssesStride: number;
  readonly ringStride: number;
  /** Rings of so many devices, joined by an outer ring. */
  readonly window: number;
}

/** Devices that divide heads, as many as a mechanism may have, and those that divide tokens. */
export function layoutOf(mechanism: Mechanism, { devices, ...heads }: Heads & { readonly devices: number }): Layout {
  const is2d = mechanism === 'usp' || mechanism === 'loongtrain';
  const fits = (count: number) => refusalOf(count, heads) === undefined;
  const ulysses = mechanism === 'ulysses' ? devices : is2d ? largestDivisor(devices, MOST_ULYSSES, fits) : 1;
  const ring = devices / ulysses;
  // The authors' USP has neighbours in a ring, LoongTrain has them divide heads.
  const [ulyssesStride, ringStride] = mechanism === 'usp' ? [ring, 1] : [1, ulysses];
  const windows = mechanism === 'loongtrain' ? largestDivisor(ring, Math.floor(Math.sqrt(ring))) : 1;
  return { ulysses, ring, ulyssesStride, ringStride, window: ring / windows };
}

function largestDivisor(of: number, most: number, fits: (divisor: number) => boolean = () => true): number {
  let divisor = Math.min(of, most);
  while (of % divisor !== 0 || !fits(divisor)) divisor--;
  return divisor;
}

function costOf(mechanism: Mechanism, settings: Settings): MechanismCost {
  const layout = layoutOf(mechanism, settings);
  const { ulysses, ring } = layout;
  const padded = paddedTokens(layout, settings);
  const refused = refusalOf(ulysses, settings);
  const pass = (isBackward: boolean) => passCost(mechanism, layout, padded, settings, isBackward);
  const [forward, backward] = [pass(false), pass(true)];
  const seconds = [forward, backward].reduce((sum, { computing, exposed }) => sum + computing + exposed, 0);
  const padding = (padded - settings.tokens) / settings.tokens;
  return { mechanism, ulysses, ring, padding, forward, backward, seconds, ...(refused && { refused }) };
}

/** Zigzag cuts each document in 2 x ring pieces, Ulysses all tokens in as many as devices. */
function paddedTokens({ ulysses, ring }: Layout, { tokens, documents, pairs, window }: Settings): number {
  if ((pairs ?? window) !== undefined) return tokens;
  const upTo = (x: number, multiple: number) => Math.ceil(x / multiple) * multiple;
  if (ring === 1) return upTo(tokens, ulysses);
  const whole = documents.reduce((sum, length) => sum + upTo(length, 2 * ring), 0);
  return upTo(whole, ulysses * 2 * ring);
}

type Heads = Pick<Settings, 'heads' | 'keyHeads'>;

/** Why heads cannot be divided among so many devices, if they cannot. */
export function refusalOf(ulysses: number, { heads, keyHeads }: Heads): string | undefined {
  if (heads % ulysses !== 0) return `${ulysses} devices do not divide ${heads} heads`;
  if (keyHeads % ulysses !== 0 && ulysses % keyHeads !== 0)
    return `${ulysses} devices and ${keyHeads} key/value heads do not divide each other`;
  return undefined;
}

function passCost(
  mechanism: Mechanism,
  layout: Layout,
  tokens: number,
  settings: Settings,
  isBackward: boolean,
): PassCost {
  const { devices, heads, keyHeads, d, bytes } = settings;
  const { ulysses, ring } = layout;
  const [both, gradients] = [2 * (heads + keyHeads), isBackward ? 2 : 1];
  const divided = ((ulysses - 1) / (ring * ulysses ** 2)) * tokens * both * d;
  const hop = (2 * tokens * keyHeads * d) / devices;
  const isOfEdges = mechanism === 'edges';
  const passed = isOfEdges
    ? 2 * edgesOf(settings)[isBackward ? 'both' : 'keys'] * keyHeads * d
    : (ring - 1) * hop * gradients;
  const flops = (4 * pairsOf(settings) * heads * d * (isBackward ? BACKWARD_WORK : 1) * tokens) / settings.tokens;
  const computing = flops / devices / settings.flopsPerSecond;

  const toAll = ulysses > 1 ? 2 * allToAll(layout, (divided * bytes) / 2, settings) : 0;
  const rounds = isOfEdges
    ? [edgesRound(passed * bytes, settings)]
    : ringRounds(mechanism, layout, hop * gradients * bytes, settings);
  // Ranks that see the keys of few others compute in few steps of a ring; beside the other hops nothing is computed.
  const visited = Math.min(ring, 1 + Math.ceil(edgesOf(settings).devices / ulysses));
  const busy = Math.min(1, visited / Math.max(1, ring - 1));
  const hidden = isOfEdges || mechanism === 'all-gather' ? 0 : computing / visited;
  const exposed = rounds.reduce(
    (sum, { count, seconds, steps }) =>
      sum + count * (busy * Math.max(0, seconds - steps * hidden) + (1 - busy) * seconds),
    0,
  );
  const exchange = rounds.reduce((sum, { count, seconds }) => sum + count * seconds, toAll);

  const own = ((tokens / devices) * both + (ulysses > 1 ? (tokens / devices) * both : 0)) * d;
  const others =
    ring === 1 ? 0 : isOfEdges ? hop + passed / gradients : mechanism === 'all-gather' ? ring * hop : 2 * hop;
  const bytesHeld = (own + others) * gradients * bytes;
  return { elementsSent: divided + passed, bytesHeld, computing, exchange, exposed: toAll + exposed };
}

function pairsOf({ tokens, documents, causal, pairs, window }: Settings): number {
  if (window !== undefined) return pairs ?? pairsWithin(window, tokens);
  return pairs ?? documents.reduce((sum, n) => sum + (causal ? (n * (n + 1)) / 2 : n * n), 0);
}

/** Messages of a device to some others, so many bytes together, one after the other. */
function edgesRound(bytes: number, settings: Settings): Round {
  const link = linkAmong(settings.devices, settings);
  return { count: 1, seconds: edgesOf(settings).devices * link.seconds + bytes / link.bytesPerSecond, steps: 0 };
}

/** The slowest link among so many neighbouring devices. */
const linkAmong = (devices: number, { node, within, between }: Settings): Link =>
  devices <= node && node % devices === 0 ? within : between;

/** Seconds of one exchange among the devices that divide heads, of which each sends `bytes` in all. */
function allToAll({ ulysses, ulyssesStride }: Layout, bytes: number, { node, within, between }: Settings): number {
  const ranks = Array.from({ length: ulysses }, (_, at) => at * ulyssesStride);
  const near = ranks.filter((rank) => rank < node).length - 1;
  const share = bytes / (ulysses - 1);
  const over = (link: Link, peers: number) => peers * (link.seconds + share / link.bytesPerSecond);
  return Math.max(over(within, near), over(between, ulysses - 1 - near));
}

/** Hops at once: how many times, what each takes, and during how many steps of computing it may. */
interface Round {
  readonly count: number;
  readonly seconds: number;
  readonly steps: number;
}

function ringRounds(
  mechanism: Mechanism,
  { ring, ringStride, window }: Layout,
  bytes: number,
  settings: Settings,
): Round[] {
  const hop = (stride: number, length: number) => {
    const link = linkAmong(stride * length, settings);
    return link.seconds + bytes / link.bytesPerSecond;
  };
  if (mechanism !== 'loongtrain') return [{ count: ring - 1, seconds: hop(ringStride, ring), steps: 1 }];
  const windows = ring / window;
  return [
    { count: windows * (window - 1), seconds: hop(ringStride, window), steps: 1 },
    { count: windows - 1, seconds: hop(ringStride * window, windows), steps: window },
  ];
}

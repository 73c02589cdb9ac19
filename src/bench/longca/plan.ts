/** How long cases take, about, and in which order a budget is spent on them. */
import { flopsOf, type LongCaCase } from './cases';
import type { LongCaContender } from './contenders';

/** With a budget, lengths are measured the earlier the nearer they are to this one. */
const CENTRE = 8192;
/** The worth of a case falls as if the length were doubled, where heads are in groups or the contender is another system. */
const GROUPED = 1;
const PEER = 1.5;
/** Calls that a case makes, those before the first that counts included. */
const CALLS = 3;

/** Cases in the order of their worth: the lengths around 8K first, of Saccade before others. */
export function byWorth(cases: readonly LongCaCase[]): LongCaCase[] {
  const distance = ({ n, h, g, contender }: LongCaCase) =>
    Math.abs(Math.log2(n / CENTRE)) + (h === g ? 0 : GROUPED) + (contender === 'saccade' ? 0 : PEER);
  return [...cases].sort((a, b) => distance(a) - distance(b));
}

/** Times of calls, predicted from those measured before. */
export class Pace {
  readonly #measured = new Map<string, { readonly work: number; readonly ms: number }>();

  constructor(readonly contenders: readonly LongCaContender[]) {}

  /** Tells that a call took so many milliseconds. */
  add(each: LongCaCase, ms: number): void {
    const measured = { work: this.#work(each), ms };
    for (const kind of kindsOf(each)) this.#measured.set(kind, measured);
  }

  /** Milliseconds of a call, and whether that follows from the same at another length. */
  call(each: LongCaCase): { readonly ms: number; readonly isKnown: boolean } {
    const [same, alike] = kindsOf(each).map((kind) => this.#measured.get(kind));
    const before = same ?? alike;
    const work = this.#work(each);
    const { rate } = this.#contender(each);
    return { ms: before ? (before.ms * work) / before.work : work / rate / 1e6, isKnown: same !== undefined };
  }

  /** Seconds of the whole case. */
  whole(each: LongCaCase): number {
    return this.#contender(each).start + (CALLS * this.call(each).ms) / 1000;
  }

  #contender({ contender }: LongCaCase): LongCaContender {
    return this.contenders.find(({ name }) => name === contender) as LongCaContender;
  }

  /** Multiplications and additions, of all pairs where none are skipped. */
  #work(each: LongCaCase): number {
    const { n, h, d, pass } = each;
    return this.#contender(each).isSparse ? flopsOf(each) : (pass === 'forward' ? 4 : 10) * n * n * h * d;
  }
}

const kindsOf = ({ contender, mask, pass, h, g, d }: LongCaCase): [same: string, alike: string] => [
  [contender, mask, pass, h, g, d].join(),
  [contender, pass].join(),
];

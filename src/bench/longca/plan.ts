/** How long cases take, about, and in which order a budget is spent on them. */
import { flopsOf, type LongCaCase } from './cases';
import type { LongCaContender } from './contenders';

/** With a budget, lengths are measured the earlier the nearer they are to this one. */
const CENTRE = 8192;
/** The worth of a case falls by so many doublings of the length where heads are in groups or the contender is another system. */
const GROUPED = 1;
const PEER = 1.5;
/** And by as many with each doubling of its time: in the place of a long case there are many short ones. */
const DOUBLED = 0.25;
/** Calls that a case makes, those before the first that counts included. */
const CALLS = 3;
/** Masks for which other systems have a flag. */
const WITHOUT_PAIRS = ['full', 'causal', 'sliding-window-causal'];

/** Cases in the order of their worth: Saccade at 8K, then what tells most for its time. */
export function byWorth(cases: readonly LongCaCase[], contenders: readonly LongCaContender[]): LongCaCase[] {
  const distance = (each: LongCaCase) => {
    const { n, h, g, contender } = each;
    const own = Math.abs(Math.log2(n / CENTRE)) + (h === g ? 0 : GROUPED) + (contender === 'saccade' ? 0 : PEER);
    const { start, rate } = contenderOf(each, contenders);
    // As if all pairs were seen, so that the masks of a table stay together.
    return own === 0 ? 0 : own + DOUBLED * Math.log2(1 + start + (CALLS * allPairs(each)) / rate / 1e9);
  };
  const distances = new Map(cases.map((each) => [each, distance(each)]));
  const at = (each: LongCaCase) => distances.get(each) as number;
  return [...cases].sort((a, b) => at(a) - at(b));
}

const contenderOf = ({ contender }: LongCaCase, contenders: readonly LongCaContender[]): LongCaContender =>
  contenders.find(({ name }) => name === contender) as LongCaContender;

/** Multiplications and additions where no pairs are skipped. */
const allPairs = ({ n, h, d, pass }: LongCaCase): number => (pass === 'forward' ? 4 : 10) * n * n * h * d;

/** Times of calls, predicted from those measured before. */
export class Pace {
  readonly #measured = new Map<string, { readonly work: number; readonly ms: number }>();

  constructor(readonly contenders: readonly LongCaContender[]) {}

  /** Tells that a call took so many milliseconds. */
  add(each: LongCaCase, ms: number): void {
    const measured = { work: this.#work(each), ms };
    for (const kind of this.#kindsOf(each)) this.#measured.set(kind, measured);
  }

  /** Milliseconds of a call, and whether that follows from one of its kind. */
  call(each: LongCaCase): { readonly ms: number; readonly isKnown: boolean } {
    const [same, alike] = this.#kindsOf(each).map((kind) => this.#measured.get(kind));
    const before = same ?? alike;
    const work = this.#work(each);
    const { rate } = this.#contender(each);
    return { ms: before ? (before.ms * work) / before.work : work / rate / 1e6, isKnown: same !== undefined };
  }

  /** Seconds of the whole case. */
  whole(each: LongCaCase): number {
    return this.#contender(each).start + (CALLS * this.call(each).ms) / 1000;
  }

  /** Time and memory of a kind follow from the length: of a mask or, where no pairs are skipped, of all that are given pair by pair. */
  kindOf(each: LongCaCase): string {
    const { contender, mask, pass, h, g, d } = each;
    const isGiven = !this.#contender(each).isSparse && !WITHOUT_PAIRS.includes(mask);
    return [contender, isGiven ? 'pairs' : mask, pass, h, g, d].join();
  }

  #kindsOf(each: LongCaCase): [same: string, alike: string] {
    return [this.kindOf(each), [each.contender, each.pass].join()];
  }

  #contender(each: LongCaCase): LongCaContender {
    return contenderOf(each, this.contenders);
  }

  /** Multiplications and additions, of all pairs where none are skipped. */
  #work(each: LongCaCase): number {
    return this.#contender(each).isSparse ? flopsOf(each) : allPairs(each);
  }
}

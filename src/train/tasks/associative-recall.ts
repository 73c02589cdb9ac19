import { checkOptions, checkWhole } from '../../check';
import { distinct, type Random, type Task, taskOf } from './task';

export interface AssociativeRecallOptions {
  /** Tokens of a sequence, at least four for each pair; default 256. */
  readonly length?: number | undefined;
  /** Keys with their values, each of which is asked for once; default a quarter of the length. */
  readonly pairs?: number | undefined;
  /** Different keys, and as many values; default 128, or as many as there are pairs. */
  readonly keys?: number | undefined;
}

/** The exponent of the power law of distances from pairs to questions: most are near, as in texts. */
const POWER = 0.01;
const NOTHING = 0;

/**
 * Multi-query associative recall: pairs of a key and a value, each drawn without repeats, and then every key once more, at
 * distances of a power law, where its value is to be answered. A token of its own stands between the questions. Where a
 * question is says nothing about its pair: whoever has seen the values alone is right once in `pairs` times.
 * Source: Arora et al. 2023, Zoology, arXiv 2312.04927; the layout is reconstructed.
 */
export function associativeRecall(options: AssociativeRecallOptions = {}): Task {
  checkOptions('associativeRecall', options, ['length', 'pairs', 'keys']);
  const { length = 256 } = options;
  checkWhole('length', length, 4);
  const { pairs = Math.floor(length / 4) } = options;
  checkWhole('pairs', pairs, 1, Math.floor(length / 4));
  const { keys = Math.max(128, pairs) } = options;
  checkWhole('keys', keys, pairs, 2 ** 20);
  const places = Math.floor((length - 2 * pairs) / 2);
  return taskOf(
    'associative-recall',
    { vocabulary: 1 + 2 * keys, length, chance: 1 / keys },
    (tokens, targets, random) => {
      tokens.fill(NOTHING);
      const [asked, answers] = [distinct(pairs, keys, random), distinct(pairs, keys, random)];
      const distances = powerLaw(pairs, places, random);
      for (let pair = 0; pair < pairs; pair++) {
        const [key, value] = [1 + (asked[pair] as number), 1 + keys + (answers[pair] as number)];
        const question = 2 * pairs + 2 * (distances[pair] as number);
        tokens.set([key, value], 2 * pair);
        tokens[question] = key;
        targets[question] = value;
      }
    },
  );
}

/** `count` different places, drawn one after the other with odds that fall as a power of the place, in any order. */
function powerLaw(count: number, places: number, random: Random): readonly number[] {
  // The first of several waiting times is any one's with odds as their rates, and so on for those that are left.
  const drawn = Array.from({ length: places }, (_, place) => ({
    place,
    time: -Math.log(1 - random()) * (place + 1) ** (1 - POWER),
  }))
    .sort((a, b) => a.time - b.time)
    .slice(0, count);
  return Array.from(distinct(count, count, random), (at) => (drawn[at] as { place: number }).place);
}

import { checkOptions, checkWhole } from '../../check';
import { below, distinct, type Task, taskOf } from './task';

export interface NeedleOptions {
  /** Tokens of a sequence; default 256. */
  readonly length?: number | undefined;
  /** Needles, each asked for once; default 4. */
  readonly needles?: number | undefined;
  /** Different tokens of the haystack, including the needles' values; default 64. */
  readonly symbols?: number | undefined;
}

/**
 * Needles in a haystack: markers, each before a token that looks like all others, at random places; at the end the markers
 * in any order, where these tokens are to be answered. Any depth is alike.
 */
export function needle(options: NeedleOptions = {}): Task {
  checkOptions('needle', options, ['length', 'needles', 'symbols']);
  const { length = 256, needles = 4, symbols = 64 } = options;
  checkWhole('length', length, 3);
  checkWhole('needles', needles, 1, Math.floor(length / 3));
  checkWhole('symbols', symbols, 2, 2 ** 20);
  const hay = length - needles;
  return taskOf('needle', { vocabulary: needles + symbols, length, chance: 1 / symbols }, (tokens, targets, random) => {
    for (let at = 0; at < hay; at++) tokens[at] = needles + below(symbols, random);
    const places = distinct(needles, Math.floor(hay / 2), random);
    places.forEach((place, marker) => {
      tokens[2 * place] = marker;
    });
    distinct(needles, needles, random).forEach((marker, at) => {
      tokens[hay + at] = marker;
      targets[hay + at] = tokens[2 * (places[marker] as number) + 1] as number;
    });
  });
}

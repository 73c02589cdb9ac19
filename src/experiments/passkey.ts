/** A passkey in random tokens, `MARK v` somewhere and `MARK` at the end, after which v is to come. */
import { NO_TARGET } from '../models/decoder/landmarks';
import { uniformGenerator } from '../tensor/random';
import type { Sequence } from './tiny-decoder';

const [VALUES, FILLERS] = [16, 14];
const MARK = VALUES + FILLERS;
/** Different tokens. */
export const PASSKEY_TOKENS = MARK + 1;

/** A text whose last token is a MARK; `again` further ones before it are answered as well. */
export function passkey(length: number, seed: number, again = 0): Sequence {
  const random = uniformGenerator(seed);
  const below = (past: number) => Math.floor(past * random());
  const value = below(VALUES);
  const tokens = Array.from({ length }, () => VALUES + below(FILLERS));
  const targets = new Array<number>(length).fill(NO_TARGET);
  const places = new Set<number>();
  while (places.size < 1 + again) places.add(2 * below(Math.floor((length - 2) / 2)));
  const [first, ...others] = [...places].sort((a, b) => a - b);
  for (const place of [first as number, ...others]) tokens.splice(place, 2, MARK, value);
  for (const place of [...others, length - 1]) targets[place] = value;
  tokens[length - 1] = MARK;
  return { tokens, targets };
}

/** The setting of a page's form, for the library. */
import type { Mask, Place } from '../../../src/masks/mask';
import { problemOfLetters } from '../../../src/methods/define';
import { type Extents, lettersOf } from '../../../src/methods/page';
import { findMethod } from '../../../src/methods/registry';
import type { RealNumbers } from '../problem';

export interface Setting {
  readonly method: string;
  readonly extents: Extents;
  readonly params: Readonly<Record<string, unknown>>;
  /** Default: normal random numbers. */
  readonly numbers?: RealNumbers;
  /** The text for the encoder; default: a novel. */
  readonly text?: string;
}

export function settle({ method: name, params, extents }: Setting) {
  const method = findMethod(name);
  return { method, params: method.parse(params) as never, letters: lettersOf(extents) };
}

/** Throws what is wrong with its params, if anything is. */
export function checkSetting(setting: Setting): void {
  settle(setting);
}

/** The mask of one head. */
export function maskAt(setting: Setting, head: number): { readonly mask: Mask; readonly place: Place } {
  const { method, params, letters } = settle(setting);
  const problem = problemOfLetters(letters);
  const mask = method.mask?.(params, problem);
  if (!mask) throw new Error(`With these params ${method.name} is no mask.`);
  mask.check?.(problem);
  return { mask, place: { ...problem, batch: 0, head: Math.min(head, problem.h - 1) } };
}

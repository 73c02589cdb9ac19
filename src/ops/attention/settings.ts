/** Which keys queries see and what becomes of the scores: the settings of attention, and of ops like it. */
import { checkFunction, checkKnown, checkRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import { messageName } from '../../expressions/forms';
import { type Band, band, full } from '../../masks/band';
import { checkMask } from '../../masks/check';
import { and } from '../../masks/combine';
import type { Extent, Mask } from '../../masks/mask';
import { checkScore, type Score } from '../../scores/score';
import type { HostTensor } from '../../tensor/host';
import type { Extents } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors } from '../check';
import type { Values } from '../compute';
import { boolean, type CheckedOptions, optional, type Setting } from '../define';
import { checkContiguous } from '../float32';
import { scale } from '../heads';
import { type CheckedSelection, checkSelection, type Selection } from './selection';

/** A mask that is made in the turn of the call, once the tensors that it follows from are computed. */
export interface DeferredMask {
  /** Few elements: where they are in a device's memory, they are copied to the host's. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** What it throws is a fault of the results. */
  mask(values: Readonly<Record<string, HostTensor>>): Mask;
}

type Window = readonly [left: number, right: number];

const window: Setting<Window> = {
  expected: '[left, right]',
  check(name, value) {
    if (!Array.isArray(value) || value.length !== 2)
      throw new ParameterError(`${name} must be [left, right], got ${show(value)}`);
    const [left, right] = value as [number, number];
    band(left, right);
    return [left, right];
  },
};

/** What a function checks. */
const checkedBy = <T>(expected: string, check: (name: string, value: T) => void): Setting<T> => ({
  expected,
  check(name, value) {
    check(name, value as T);
    return value as T;
  },
});

const selection: Setting<Selection, CheckedSelection> = {
  expected: 'a selection of key blocks',
  check: (_, value, extents) => checkSelection(value as Selection, extents as unknown as Extent),
};

const deferred = checkedBy<DeferredMask>('a deferred mask', (name, given) => {
  checkKnown(name, given, ['tensors', 'mask'], (unknown) => `a deferred mask has no '${unknown}'`);
  checkRecord(`tensors of ${name}`, given.tensors);
  checkTensors(given.tensors);
  checkFunction(`mask of ${name}`, given.mask);
});

/** What changes the scaled scores. */
export const score = optional(checkedBy<Score>('a Score', checkScore));

/** Checked by the call itself, which knows how many keys there are. */
export const selectionOfCache = optional(checkedBy<Selection>('a selection of key blocks', checkRecord));

/** Which keys queries see, and what their scores are scaled by. */
export const maskSettings = {
  /** Factor on the scores; default 1 / sqrt(d). */
  scale,
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default false. */
  causal: boolean(false),
  /** `[left, right]`: keys from i' - left to i' + right, with i' = i + m - n; -1 leaves a side unbounded. */
  window: optional(window),
  /** Any other mask; a key must be seen by all that are given. */
  mask: optional(checkedBy<Mask>('a Mask', checkMask)),
};

/** The same for the forward and the backward pass. */
export const settings = {
  ...maskSettings,
  /** Which blocks of keys each block of queries sees, as a tensor that another op computed; beside the masks. */
  selection: optional(selection),
  /** What changes the scaled scores before the softmax, such as `scores.softcap(30)`. Tensors that it captured are inputs. */
  score,
  /** A mask that follows from the elements of tensors, in place of `mask`. */
  deferred: optional(deferred),
};

/** Checked, or not given. */
export interface MaskSettings {
  readonly causal?: boolean | undefined;
  readonly window?: Window | undefined;
  readonly mask?: Mask | undefined;
}

export type Settings = Omit<CheckedOptions<typeof settings>, 'scale'>;

/** The mask that the options `causal` and `window` describe together. */
export function bandOf({ causal = false, window: [left, right] = [-1, -1] }: MaskSettings): Band {
  return band(left, causal ? 0 : right);
}

/** The mask that settings describe together. */
export function maskOf({ mask, ...near }: MaskSettings): Mask {
  const seen = bandOf(near);
  if (mask === undefined) return seen;
  return seen === full() ? mask : and(seen, mask);
}

/** Throws a ShapeError if a mask or score does not fit a call of these extents. */
export function checkFits(extents: Extents, ...parts: readonly (Mask | Score | undefined)[]): void {
  for (const part of parts) part?.check?.(extents as unknown as Extent);
}

/** The mask of a call of these extents. */
export function fittingMask(maskSettings: MaskSettings, extents: Extents): { readonly mask: Mask } {
  const mask = maskOf(maskSettings);
  checkFits(extents, mask);
  return { mask };
}

/** The tensors that settings hold, and the mask of a call of these extents, once those that are known are. */
export function resolve({ selection, score, deferred, ...maskSettings }: Settings, extents: Extents) {
  if (deferred && maskSettings.mask !== undefined) throw new ParameterError('mask is deferred: leave it out');
  checkFits(extents, score);
  const now = deferred ? undefined : fittingMask(maskSettings, extents).mask;
  const late = (values: Values) => {
    const mask = deferred?.mask(values) as Mask;
    checkMask('mask of deferred', mask);
    return fittingMask({ ...maskSettings, mask }, extents).mask;
  };
  return {
    captured: tensorsOf(score),
    known: { ...deferred?.tensors, ...selection?.tensors } as Readonly<Record<string, Tensor>>,
    maskIn(values: Values): Mask {
      const mask = now ?? late(values);
      return selection ? selection.narrow(mask, values) : mask;
    },
  };
}

/** The tensors that a score captured, by what messages call them; of equal names the second is `captured.name_2`. */
export function tensorsOf(score: Score | undefined): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const { name, tensor } of score?.tensors ?? []) {
    const called = messageName(name);
    let unused = called;
    for (let count = 2; Object.hasOwn(tensors, unused); count++) unused = `${called}_${count}`;
    tensors[unused] = tensor;
  }
  checkContiguous(tensors);
  return tensors;
}

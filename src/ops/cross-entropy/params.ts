import { struct } from '../../runtime/cpu/struct';

/** No target that may be: what is ignored if nothing is. */
export const NONE = -1;

export const CrossEntropyParams = struct({
  /** Rows in all, and of a task. */
  rows: 'i32',
  together: 'i32',
  classes: 'i32',
  /** `NONE` where none is. */
  ignore: 'i32',
  smoothing: 'f64',
  logits: 'tensor',
  targets: 'tensor',
  losses: 'tensor',
  lse: 'tensor',
  /** For the gradient and the mean. */
  gradLosses: 'tensor',
  gradLogits: 'tensor',
  out: 'tensor',
  share: 'tensor',
});

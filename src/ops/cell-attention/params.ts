import { fields, struct } from '../../runtime/cpu/struct';

/** Queries of a task. */
export const QUERIES = 32;
/** Keys that are weighed at a time. */
export const KEYS = 512;

export const CellParams = struct({
  ...fields('i32', 'b', 'n', 'm', 'h', 'g', 'd', 'e', 'width'),
  scale: 'f64',
  causal: 'bool',
  ...fields('tensor', 'q', 'k', 'v', 'estimate', 'out', 'lse', 'bounds', 'ties'),
  /** Pools of a batch, the rows of a pool and the step from one to the next, and the step from a pool to the next. */
  ...fields('i32', 'pools', 'rows', 'rowStep', 'poolStep'),
  /** Cells of a pool; where that depends on how many keys a query sees, for a single one. */
  budget: 'f64',
});

export const CellBackwardParams = struct({
  cells: CellParams,
  ...fields('tensor', 'gradOut', 'gradQ', 'gradK', 'gradV'),
});

/** Selections of key blocks: tensors that say which of them each block of queries sees. */
import { checkArray, checkKnown, checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Extent, Mask } from '../../masks/mask';
import {
  type Blocks,
  blocksOf,
  blocksOfLengths,
  type Choice,
  chosenByFlags,
  chosenByLists,
  chosenByRuns,
  MOST_BLOCKS,
  regionsOf,
  type Selected,
  selection,
} from '../../masks/selection';
import { formatShape, type Shape } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';
import type { Values } from '../compute';

/** Tokens in the row-major order of a grid of 1 to 3 axes; its blocks are regions, in row-major order too. */
export interface Regions {
  /** Tokens along each axis. */
  readonly extent: readonly number[];
  /** Tokens of a region along each axis; the last region of an axis may be short. */
  readonly region: readonly number[];
}

/**
 * Which blocks of keys each block of queries sees, by what another op computed: `lists`, `flags` or `runs`, and for queries
 * and keys each the size of a block, which may be a single token, the lengths of all blocks, or the regions of a grid.
 *
 * b may be 1, for all batches, and h any divisor of the query heads: neighbouring heads share a choice. The last block of
 * n queries or m keys may be short: nq = ceil(n / queryBlock), nk = ceil(m / keyBlock), or the numbers of regions.
 */
export interface Selection {
  /** [b, h, nq, k], i32: numbers of key blocks from 0 to nk - 1, or -1 for none; those that occur twice count once. */
  readonly lists?: Tensor<'i32'> | undefined;
  /** [b, h, nq, nk], i32: not 0 where it is seen. */
  readonly flags?: Tensor<'i32'> | undefined;
  /**
   * [r, 2], i32: runs of key blocks, their first and one past their last, equal for none; they may overlap. Memory is that of
   * the runs, however many keys they have.
   */
  readonly runs?: Tensor<'i32'> | undefined;
  /** With `runs`: [b, h, nq + 1], i32: those of query block i are `offsets[i]` to before `offsets[i + 1]`. */
  readonly offsets?: Tensor<'i32'> | undefined;
  /** Queries of a block, counted from the first: 1 or more. */
  readonly queryBlock?: number | undefined;
  readonly keyBlock?: number | undefined;
  /**
   * In place of `queryBlock`: the tokens of each block, together n; or a list of these for each of the h heads of the choice,
   * with as many blocks each.
   */
  readonly queryLengths?: readonly number[] | readonly (readonly number[])[] | undefined;
  /** In place of `keyBlock`, likewise. */
  readonly keyLengths?: readonly number[] | readonly (readonly number[])[] | undefined;
  /** In place of `queryBlock`: its extents hold n tokens. */
  readonly queryGrid?: Regions | undefined;
  /** In place of `keyBlock`: its extents hold m tokens. */
  readonly keyGrid?: Regions | undefined;
}

const FORMS = ['lists', 'flags', 'runs'] as const;
const SIDES = ['Block', 'Lengths', 'Grid'] as const;
const FIELDS = [...FORMS, 'offsets', ...SIDES.flatMap((form) => [`query${form}`, `key${form}`])];
const MOST_AXES = 3;

/** A selection that fits a call. */
export interface CheckedSelection {
  readonly given: Selection;
  /** What its tensors are called, and these. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** What is selected, in a call of one batch that of `batch`; throws a ShapeError for a block that there is not. */
  selected(values: Values, batch?: number): Selected;
  /** What `mask` sees of that. */
  narrow(mask: Mask, values: Values, batch?: number): Mask;
}

/** Throws unless the selection fits a call of these extents, as far as can be told before its elements are known. */
export function checkSelection(given: Selection, { b, n, m, h }: Extent): CheckedSelection {
  checkKnown('selection', given, FIELDS, (name) => `selection has no '${name}'`);
  const form = oneOf(given, FORMS);
  if ((form === 'runs') !== (given.offsets !== undefined))
    throw new ParameterError(
      `selection must have runs and offsets together, got ${form}${form === 'runs' ? '' : ' and offsets'}`,
    );
  const tensors = tensorsOf(given);
  for (const [name, tensor] of Object.entries(tensors)) {
    if (!(tensor instanceof Tensor)) throw new ParameterError(`${name} must be a Tensor, got ${show(tensor)}`);
    if (tensor.dtype !== 'i32') throw new DTypeError(`${name} must be i32, got ${(tensor as Tensor).dtype}`);
  }
  const [ofQueries, ofKeys] = [checkBlocks(given, 'query', n), checkBlocks(given, 'key', m)];
  const [queries, keys] = [ofQueries[0] as Blocks, ofKeys[0] as Blocks];
  if (keys.count > MOST_BLOCKS)
    throw new ParameterError(`selection must have at most ${MOST_BLOCKS} key blocks, got ${keys.count}`);
  const chosen = (given.offsets ?? given[form]) as Tensor;
  const [batches, heads, rows, width] = chosen.shape as [number, number, number, number];
  const last = {
    lists: [`${queries.count}`, 'k'],
    flags: [`${queries.count}`, `${keys.count}`],
    runs: [`${queries.count + 1}`],
  };
  const fits =
    (batches === b || batches === 1) &&
    h % heads === 0 &&
    rows === queries.count + Number(form === 'runs') &&
    !(form === 'flags' && width !== keys.count);
  if (chosen.rank !== 2 + last[form].length || !fits) {
    const name = nameOf(form === 'runs' ? 'offsets' : form);
    throw new ShapeError(
      `${name} must have shape [${b === 1 ? 1 : `1 or ${b}`}, a divisor of ${h}, ${last[form].join(', ')}], got ${formatShape(chosen.shape)}`,
    );
  }
  for (const [side, blocks] of Object.entries({ query: ofQueries, key: ofKeys }))
    if (blocks.length > 1 && blocks.length !== heads)
      throw new ShapeError(
        `selection.${side}Lengths must be a list of lengths, or one for each of the ${heads} heads of the choice, got ${blocks.length}`,
      );
  if (form === 'runs' && (given.runs?.rank !== 2 || given.runs.shape[1] !== 2))
    throw new ShapeError(`selection.runs must have shape [r, 2], got ${formatShape((given.runs as Tensor).shape)}`);
  const selected: CheckedSelection['selected'] = (values, batch) => {
    const data = (name: keyof Selection) => (values[nameOf(name)] as Values[string]).data as ArrayLike<number>;
    const first = batch === undefined || batches === 1 ? 0 : batch * heads * queries.count;
    const choice = choiceOf(form, data, chosen.shape, keys.count);
    return {
      queries: ofQueries,
      keys: ofKeys,
      batches: batch === undefined ? batches : 1,
      heads,
      choice: first === 0 ? choice : movedBy(choice, first),
    };
  };
  return { given, tensors, selected, narrow: (mask, ...of) => selection(mask, selected(...of)) };
}

const movedBy = (choice: Choice, first: number): Choice => ({
  ...choice,
  sees: (row, block) => choice.sees(first + row, block),
  eachRun: (row, take) => choice.eachRun(first + row, take),
});

/** Throws a ShapeError for a key block that there is not. */
function choiceOf(
  form: (typeof FORMS)[number],
  data: (name: keyof Selection) => ArrayLike<number>,
  shape: Shape,
  blocks: number,
): Choice {
  if (form === 'flags') return chosenByFlags(data('flags'), blocks);
  if (form === 'lists') {
    const expected = `key blocks from 0 to ${blocks - 1}, or -1 for none`;
    checkEntries('lists', data('lists'), shape, expected, (entry) => entry >= -1 && entry < blocks);
    return chosenByLists(data('lists'), shape[3] as number);
  }
  const [runs, offsets] = [data('runs'), data('offsets')];
  const expected = `first key blocks and those past the last, in order, from 0 to ${blocks}`;
  const isEnd = (entry: number, at: number) =>
    entry >= (at % 2 === 0 ? 0 : (runs[at - 1] as number)) && entry <= blocks;
  checkEntries('runs', runs, [runs.length / 2, 2], expected, isEnd);
  const count = (shape[2] as number) - 1;
  const isOffset = (entry: number, at: number) =>
    entry >= (at % (count + 1) === 0 ? 0 : (offsets[at - 1] as number)) && entry <= runs.length / 2;
  checkEntries('offsets', offsets, shape, `places of runs, in order, from 0 to ${runs.length / 2}`, isOffset);
  return chosenByRuns(runs, offsets, (row) => row + Math.floor(row / count));
}

/** The selection of another call, whose tensors are among those by the names that `checkSelection` gave them. */
export const selectionOf = (given: Selection, tensors: Readonly<Record<string, Tensor>>): Selection => ({
  ...given,
  ...Object.fromEntries(HELD.flatMap((form) => (given[form] ? [[form, tensors[nameOf(form)]]] : []))),
});

const HELD = [...FORMS, 'offsets'] as const;
const nameOf = (field: keyof Selection) => `selection.${field}`;
const tensorsOf = (given: Selection) =>
  Object.fromEntries(
    HELD.flatMap((form) => (given[form] === undefined ? [] : [[nameOf(form), given[form] as Tensor]])),
  );

/** Which one of some fields is given. */
function oneOf<Name extends keyof Selection>(given: Selection, names: readonly Name[]): Name {
  const found = names.filter((name) => given[name] !== undefined);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const got = found.length === 0 ? 'none' : found.join(' and ');
  throw new ParameterError(`selection must have one of ${names.join(', ')}, got ${got}`);
}

/** The blocks of all heads, or those of each. */
function checkBlocks(given: Selection, side: 'query' | 'key', tokens: number): Blocks[] {
  const form = oneOf(
    given,
    SIDES.map((each) => `${side}${each}` as const),
  );
  const what = `selection.${form}`;
  const value = given[form];
  if (form === `${side}Block`) {
    checkWhole(what, value as number, 1);
    return [blocksOf(tokens, value as number)];
  }
  if (form === `${side}Lengths`) return checkLengths(what, value as readonly unknown[], tokens);
  const regions = value as Regions;
  checkKnown(what, regions, ['extent', 'region'], (name) => `${what} has no '${name}'`);
  const { extent, region } = regions;
  for (const [name, axes] of Object.entries({ extent, region })) {
    if (!Array.isArray(axes) || axes.length < 1 || axes.length > MOST_AXES)
      throw new ParameterError(`${name} of ${what} must be a list of 1 to ${MOST_AXES} integers, got ${show(axes)}`);
    for (const [axis, length] of axes.entries()) checkWhole(`${name}[${axis}] of ${what}`, length, 1);
  }
  if (region.length !== extent.length)
    throw new ParameterError(
      `region of ${what} must have an integer for each of the ${extent.length} axes, got ${show(region)}`,
    );
  if (extent.reduce((product, length) => product * length, 1) !== tokens)
    throw new ShapeError(
      `extent of ${what} must hold the ${tokens} ${side === 'key' ? 'keys' : 'queries'}, got ${formatShape(extent)}`,
    );
  return [regionsOf(extent, region)];
}

function checkLengths(what: string, given: readonly unknown[], tokens: number): Blocks[] {
  checkArray(what, given);
  const lists = (Array.isArray(given[0]) ? given : [given]) as readonly (readonly number[])[];
  for (const [at, lengths] of lists.entries()) {
    const name = lists.length > 1 ? `${what}[${at}]` : what;
    checkArray(name, lengths);
    for (const [block, length] of lengths.entries()) checkWhole(`${name}[${block}]`, length, 1, tokens);
    const sum = lengths.reduce((sum, length) => sum + length, 0);
    if (sum !== tokens) throw new ShapeError(`${name} must hold ${tokens} tokens together, got ${sum}`);
    const count = lists[0]?.length;
    if (lengths.length !== count)
      throw new ShapeError(`${name} must be ${count} lengths, as for the first head, got ${lengths.length}`);
  }
  return lists.map(blocksOfLengths);
}

function checkEntries(
  name: keyof Selection,
  entries: ArrayLike<number>,
  shape: Shape,
  expected: string,
  fits: (entry: number, at: number) => boolean,
): void {
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at] as number;
    if (fits(entry, at)) continue;
    let rest = at;
    const place = shape.map((_, axis) => {
      const behind = shape.slice(axis + 1).reduce((product, extent) => product * extent, 1);
      const index = Math.floor(rest / behind);
      rest %= behind;
      return index;
    });
    throw new ShapeError(`${nameOf(name)} must hold ${expected}, got ${entry} at ${formatShape(place)}`);
  }
}

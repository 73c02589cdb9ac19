/** Selections of key blocks: tensors that say which of them each block of queries sees. */
import { checkKnown, checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Extent, Mask } from '../../masks/mask';
import { type Blocks, blocksOf, regionsOf, type Selected, selection } from '../../masks/selection';
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
 * Which blocks of keys each block of queries sees, by what another op computed: either `lists` or `flags`, and for queries
 * and keys each the size of a block or the regions of a grid.
 *
 * b may be 1, for all batches, and h any divisor of the query heads: neighbouring heads share a choice. The last block of
 * n queries or m keys may be short: nq = ceil(n / queryBlock), nk = ceil(m / keyBlock), or the numbers of regions.
 */
export interface Selection {
  /** [b, h, nq, k], i32: numbers of key blocks from 0 to nk - 1, or -1 for none; those that occur twice count once. */
  readonly lists?: Tensor<'i32'> | undefined;
  /** [b, h, nq, nk], i32: not 0 where it is seen. */
  readonly flags?: Tensor<'i32'> | undefined;
  /** Queries of a block, counted from the first: 1 or more. */
  readonly queryBlock?: number | undefined;
  readonly keyBlock?: number | undefined;
  /** In place of `queryBlock`: its extents hold n tokens. */
  readonly queryGrid?: Regions | undefined;
  /** In place of `keyBlock`: its extents hold m tokens. */
  readonly keyGrid?: Regions | undefined;
}

const FIELDS = ['lists', 'flags', 'queryBlock', 'keyBlock', 'queryGrid', 'keyGrid'];
const MOST_AXES = 3;

/** A selection that fits a call. */
export interface CheckedSelection {
  readonly given: Selection;
  /** What its tensor is called, and that. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** What `mask` sees of what is selected; throws a ShapeError for a block that there is not. */
  narrow(mask: Mask, values: Values): Mask;
}

/** Throws unless the selection fits a call of these extents, as far as can be told before its elements are known. */
export function checkSelection(given: Selection, { b, n, m, h }: Extent): CheckedSelection {
  checkKnown('selection', given, FIELDS, (name) => `selection has no '${name}'`);
  const form = oneOf(given, 'lists', 'flags');
  const name = nameOf(form);
  const tensor = given[form];
  if (!(tensor instanceof Tensor)) throw new ParameterError(`${name} must be a Tensor, got ${show(tensor)}`);
  if (tensor.dtype !== 'i32') throw new DTypeError(`${name} must be i32, got ${(tensor as Tensor).dtype}`);
  const queries = checkBlocks(given, 'query', n);
  const keys = checkBlocks(given, 'key', m);
  const [batches, heads, rows, width] = tensor.shape as [number, number, number, number];
  const areFlags = form === 'flags';
  const fits =
    (batches === b || batches === 1) &&
    h % heads === 0 &&
    rows === queries.count &&
    !(areFlags && width !== keys.count);
  if (tensor.rank !== 4 || !fits) {
    const last = areFlags ? keys.count : 'k';
    throw new ShapeError(
      `${name} must have shape [${b === 1 ? 1 : `1 or ${b}`}, a divisor of ${h}, ${queries.count}, ${last}], got ${formatShape(tensor.shape)}`,
    );
  }
  return {
    given,
    tensors: { [name]: tensor },
    narrow(mask, values) {
      const { data, shape } = values[name] as Values[string];
      if (!areFlags) checkEntries(name, data as ArrayLike<number>, shape, keys.count);
      const selected: Selected = { queries, keys, batches, heads, width, values: data as ArrayLike<number>, areFlags };
      return selection(mask, selected);
    },
  };
}

/** The selection of another call, whose tensor is among those by the name that `checkSelection` gave it. */
export function selectionOf(given: Selection, tensors: Readonly<Record<string, Tensor>>): Selection {
  const form = oneOf(given, 'lists', 'flags');
  return { ...given, [form]: tensors[nameOf(form)] };
}

const nameOf = (form: 'lists' | 'flags') => `selection.${form}`;

/** Which one of two fields is given. */
function oneOf<Name extends keyof Selection>(given: Selection, a: Name, b: Name): Name {
  if ((given[a] === undefined) !== (given[b] === undefined)) return given[a] === undefined ? b : a;
  throw new ParameterError(
    `selection must have either ${a} or ${b}, got ${given[a] === undefined ? 'neither' : 'both'}`,
  );
}

function checkBlocks(given: Selection, side: 'query' | 'key', tokens: number): Blocks {
  const form = oneOf(given, `${side}Block`, `${side}Grid`);
  const what = `selection.${form}`;
  const value = given[form];
  if (form === `${side}Block`) {
    checkWhole(what, value as number, 1);
    return blocksOf(tokens, value as number);
  }
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
  return regionsOf(extent, region);
}

function checkEntries(name: string, entries: ArrayLike<number>, shape: Shape, blocks: number): void {
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at] as number;
    if (entry >= -1 && entry < blocks) continue;
    let rest = at;
    const place = shape.map((_, axis) => {
      const behind = shape.slice(axis + 1).reduce((product, extent) => product * extent, 1);
      const index = Math.floor(rest / behind);
      rest %= behind;
      return index;
    });
    throw new ShapeError(
      `${name} must hold key blocks from 0 to ${blocks - 1}, or -1 for none, got ${entry} at ${formatShape(place)}`,
    );
  }
}
